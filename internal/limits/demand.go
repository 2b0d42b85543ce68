package limits

import "github.com/connprof/connprof/internal/kernel"

// Roles are which end, or ends, of the connections a host can hold, in the order of reports. With both, each end is in a
// process of its own, as in connprof run.
var Roles = []kernel.Role{kernel.RoleClient, kernel.RoleServer, kernel.RoleBoth}

// Demand is what an ordinary program wants of the host: one that leaves ports to the kernel and has one table of file
// descriptors a process.
type Demand struct {
	Conns uint64
	Role  kernel.Role
	// Addresses and Ports are the client addresses and the server ports that the connections spread over.
	Addresses, Ports uint64
	// ClientBytes and ServerBytes are the kernel memory of one idle endpoint, in bytes of slab pages.
	ClientBytes, ServerBytes uint64
	// QueuedBytes is what the kernel books for the data that is queued on a connection (Booked), 0 where none is.
	QueuedBytes uint64
	// Alike says that the connections are like others that are open already, with what those have queued, and come on top of them.
	Alike bool
	// Promised are connections of others like these, which may not be open yet.
	Promised uint64
	// ThreadEach says that the accepting end runs one thread a connection.
	ThreadEach bool
}

func (d Demand) client() bool { return d.Role != kernel.RoleServer }
func (d Demand) server() bool { return d.Role != kernel.RoleClient }

// sockets is how many ends are on this host.
func (d Demand) sockets() uint64 {
	if d.Role == kernel.RoleBoth {
		return 2 * (d.Conns + d.Promised)
	}
	return d.Conns + d.Promised
}

// memoryBytes is what all endpoints on this host cost, with the data that is queued on them.
func (d Demand) memoryBytes() uint64 {
	var each uint64
	if d.client() {
		each += d.ClientBytes
	}
	if d.server() {
		each += d.ServerBytes
	}
	return (d.Conns + d.Promised) * (each + d.QueuedBytes)
}

// bookedBytes is what net.ipv4.tcp_mem has to allow, which the kernel books by the page: what is queued, or else a page on every
// end, for connections that are about to carry something.
func (d Demand) bookedBytes() uint64 {
	if d.QueuedBytes == 0 {
		return d.sockets() * pageBytes
	}
	return (d.Conns + d.Promised) * ((d.QueuedBytes + pageBytes - 1) / pageBytes * pageBytes)
}
