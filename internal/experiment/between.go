package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// between is what is special about one end of connections that go from one machine to another: the network is the
// host's, other programs use it as well, and only one end of each connection is here. All methods take nil for a run
// with both ends on this host.
type between struct {
	end     kernel.Role // client or server
	server  netip.Addr
	clients []netip.Addr
	ports   []uint16 // consecutive
	backlog int      // of each port
	most    int      // connections wanted where none need be, 0 for no bound
	why     string   // what set most
	others  int      // connections that are promised to other sessions
	known   map[netip.Addr]bool

	oneKernel bool // the other end is in another network namespace of this very kernel
}

// elsewhere tells whether a role's end is on the other machine.
func (b *between) elsewhere(role kernel.Role) bool { return b != nil && b.end != role }

// ends is how many ends of each connection are in this kernel's memory.
func (b *between) ends() int {
	if b == nil || b.oneKernel {
		return 2
	}
	return 1
}

// files is how many files a connection takes here; 0 stands for both ends'.
func (b *between) files() uint64 {
	if b == nil {
		return 0
	}
	return 1
}

// share is the part of what a connection costs that is due here.
func (b *between) share(bytes uint64) uint64 {
	if b == nil {
		return bytes
	}
	return bytes / 2
}

// role is how package limits calls the end.
func (b *between) role() kernel.Role {
	if b == nil {
		return kernel.RoleBoth
	}
	return b.end
}

// bound lowers the number of connections to what the ports of this host allow, or refuses what was asked for.
func (b *between) bound(r *runner) error {
	if b == nil {
		return nil
	}
	o := &r.options
	r.files.Used += uint64(b.others)
	r.memory.AvailableBytes -= min(r.memory.AvailableBytes, b.share(limits.ConnectionBytes)*uint64(b.others))
	if b.most > 0 && r.conns > b.most {
		r.conns, r.capped = b.most, b.why
	}
	if b.end != kernel.RoleClient {
		return nil
	}
	ports, err := load.HostPorts()
	if err != nil {
		return err
	}
	most := o.IPs * o.Ports * len(ports)
	if most >= r.conns {
		return nil
	}
	where := fmt.Sprintf("net.ipv4.ip_local_port_range, which leaves %d local ports", len(ports))
	if o.Conns != 0 || most == 0 {
		return fmt.Errorf("%d connections from %d addresses to %d server ports need more local ports than %s; lower --conns "+
			"to %d, raise --ips or --ports, or run: sysctl net.ipv4.ip_local_port_range='1024 65535'", r.conns, o.IPs, o.Ports,
			where, most)
	}
	r.conns, r.capped = most, where
	return nil
}

// loadConfig makes one end of what is otherwise a load with both.
func (b *between) loadConfig(c load.Config) load.Config {
	c.End, c.Clients, c.Server, c.Ports = b.end, b.clients, b.server, b.ports
	c.Backlog = b.backlog
	if b.end == kernel.RoleClient {
		c.Backlog = min(b.backlog*len(b.ports), netcfg.Backlog) // the window is over all ports
	}
	return c
}

// probed is which endpoints the probes are to count.
func (b *between) probed() loader.Ports {
	if b == nil {
		return loader.Ports{}
	}
	p := loader.Ports{Side: loader.RemotePorts, Low: b.ports[0], High: b.ports[len(b.ports)-1]}
	if b.end == kernel.RoleServer {
		p.Side = loader.LocalPorts
	}
	return p
}

// owns tells the endpoints of this end from all others in the namespace.
func (b *between) owns(e *kernel.Endpoint) bool {
	if b == nil {
		return true
	}
	near, far := e.Local, e.Remote
	if b.end == kernel.RoleClient {
		near, far = far, near
	}
	if near.Addr().Unmap() != b.server || near.Port() < b.ports[0] || near.Port() > b.ports[len(b.ports)-1] {
		return false
	}
	if e.State == kernel.StateListen {
		return b.end == kernel.RoleServer
	}
	return b.known[far.Addr().Unmap()]
}

// setClients notes the addresses that the connections come from.
func (b *between) setClients(clients []netip.Addr) {
	b.clients, b.known = clients, map[netip.Addr]bool{}
	for _, a := range clients {
		b.known[a] = true
	}
}

// setPorts notes the server's ports.
func (b *between) setPorts(first, n int) {
	b.ports = nil
	for i := range n {
		b.ports = append(b.ports, uint16(first+i))
	}
}

// sign says in the recording which end it is, and of which machine.
func (b *between) sign(rec *account.Recording) {
	if b == nil {
		return
	}
	rec.Load.End = b.end.String()
	rec.Host.Name = hostName()
	rec.Host.Boot = bootID()
	rec.Load.ClientAddresses = len(b.clients)
	rec.Load.ServerPorts = len(b.ports)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return peer.Text(name)
}

// bootID tells one running kernel from all others, empty where it cannot be read.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// walkOwn walks the endpoints of the run.
func (r *runner) walkOwn(visit func(*kernel.Endpoint) error) error {
	if r.between == nil {
		return r.probes.Walk(visit, r.network)
	}
	return r.probes.Walk(func(e *kernel.Endpoint) error {
		if !r.between.owns(e) {
			return nil
		}
		return visit(e)
	}, r.network)
}

// spareTime is how much later than this end a silent peer may have noticed that nothing is heard, and looked at its end.
const spareTime = 5 * time.Second

// spare keeps the connections for a peer that is silent and may be there: it makes its account of them about now.
func spare(lost error, abort <-chan struct{}) {
	var silent *peer.SilentError
	if !errors.As(lost, &silent) {
		return
	}
	select {
	case <-time.After(spareTime):
	case <-abort:
	}
}

// talkEvery is how often an end tells the other what has changed: often enough that a full accept queue is noticed to
// have emptied.
const talkEvery = 10 * time.Millisecond

func progressOf(p load.Progress) peer.Progress {
	return peer.Progress{Attempted: p.Attempted, Established: p.Established, Failed: p.Failed, Accepted: p.Accepted}
}

func toldOf(p *peer.Progress) load.Progress {
	return load.Progress{Attempted: p.Attempted, Established: p.Established, Failed: p.Failed, Accepted: p.Accepted}
}
