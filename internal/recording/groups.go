package recording

import "github.com/connprof/connprof/internal/kernel"

// Group is endpoints of one owner, role, state, and listener or service. What the account was not divided by is empty or 0.
type Group struct {
	Netns     uint32 `json:"netns,omitempty"`     // inode number of the network namespace
	Cgroup    string `json:"cgroup,omitempty"`    // path below the root of the hierarchy
	Unit      string `json:"unit,omitempty"`      // the systemd unit of the cgroup
	Container string `json:"container,omitempty"` // its ID, from the cgroup's path
	Pod       string `json:"pod,omitempty"`       // the UID of the Kubernetes pod, from the cgroup's path
	PID       int    `json:"pid"`                 // the first of PIDs; 0: no process
	// PIDs is all processes that have the endpoints open, where they are several: a master and its workers.
	PIDs  []int       `json:"pids,omitempty"`
	Comm  string      `json:"comm,omitempty"`
	UID   uint32      `json:"uid"`
	Owner OwnerKind   `json:"owner,omitempty"`
	Role  kernel.Role `json:"role"`
	State string      `json:"state"`
	// Listener is the address and port that a server's end was accepted at, Service those that a client's end goes to;
	// Other where there were too many to list.
	Listener string `json:"listener,omitempty"`
	Service  string `json:"service,omitempty"`
	// Peer is the remote address without the port, where the account was divided by it.
	Peer string `json:"peer,omitempty"`
	// Opener is the place in Machine.Openers, counted from 1, of who opened the endpoints; 0 where that was not asked for.
	Opener      int    `json:"opener,omitempty"`
	Count       int    `json:"count"`
	ObjectBytes uint64 `json:"object_bytes"`
	PageBytes   uint64 `json:"page_bytes"`
	BufferBytes uint64 `json:"buffer_bytes"` // RxBytes, TxBytes and option memory
	RxBytes     uint64 `json:"rx_bytes"`     // receive queue and backlog, by the kernel's accounting
	TxBytes     uint64 `json:"tx_bytes"`     // send queue, by the kernel's accounting
	// PageCacheBytes is that part of TxBytes whose pages are the page cache's (sendfile): they cost nothing more.
	PageCacheBytes uint64 `json:"page_cache_bytes,omitempty"`
	// UnreadBytes is data that has arrived in order and that nobody has read, in UnreadSockets sockets.
	UnreadSockets int    `json:"unread_sockets"`
	UnreadBytes   uint64 `json:"unread_bytes"`
	// UnackedBytes is data that the peer has not acknowledged or not yet been sent, in UnackedSockets sockets.
	UnackedSockets int    `json:"unacked_sockets,omitempty"`
	UnackedBytes   uint64 `json:"unacked_bytes,omitempty"`
	// Idle is how long no data has come or gone, nil where no endpoint of the group has carried any or it is not known.
	Idle *Spread `json:"idle_seconds,omitempty"`
}

// Spread is how a figure is distributed among endpoints.
type Spread struct {
	P50 float64 `json:"p50"`
	Max float64 `json:"max"`
}

// OwnerKind says who has an endpoint, or why no process has it.
type OwnerKind string

// The kinds of owners.
const (
	OwnerProcess     OwnerKind = "process"
	OwnerAcceptQueue OwnerKind = "accept_queue" // nobody yet: it waits to be accepted
	OwnerOrphan      OwnerKind = "orphan"       // closed by its process, not yet by the protocol
	OwnerTimeWait    OwnerKind = "time_wait"
	OwnerRequest     OwnerKind = "request"     // a handshake that is not complete
	OwnerInFlight    OwnerKind = "in_flight"   // no process has its file open: it is in a message, or io_uring's
	OwnerUnseen      OwnerKind = "unseen"      // no process that connprof sees has its file open: it runs in a PID namespace of its own
	OwnerKernel      OwnerKind = "kernel"      // a socket without file: the kernel's own
	OwnerUnreachable OwnerKind = "unreachable" // known by the books alone, see SocketBook
	OwnerOther       OwnerKind = "other"       // of many kinds: what is beyond the bound on groups
)

// Other stands for the listeners or services that are beyond the bound on groups.
const Other = "other"
