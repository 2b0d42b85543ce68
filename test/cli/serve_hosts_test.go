package cli

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

// The tests of runs between two machines have two namespaces in their place, with a cable between them: near, from which
// connprof run connects, and far, where connprof serve listens.

const (
	nearIP    = "10.79.0.1"
	farIP     = "10.79.0.2"
	nearIP6   = "fd79::1"
	farIP6    = "fd79::2"
	servePort = 8090
	// moreSockets is what the hosts' established hashes are sized for: all that two clients of the largest runs have at one host.
	moreSockets = 200_000
)

// serveToken is what both hosts know before either end has started.
var serveToken = peer.NewToken()

// pair is what a run and a serve need of their hosts.
type pair struct {
	hosts
	journal string
}

// newPair connects two hosts by a virtual Ethernet pair. ok is false on a kernel that has none.
func newPair(t *testing.T) (p pair, ok bool) {
	t.Helper()
	p.near, p.far = newHost(t, moreSockets), newHost(t, moreSockets)
	if err := p.connect(t, "eth0"); !offered(t, "CONFIG_VETH", err) {
		return p, false
	}
	p.addressed(t)
	return p, true
}

// addressed gives both ends of the cable their addresses, and a run a place for its journal.
func (p *pair) addressed(t *testing.T) {
	t.Helper()
	inside(t, p.near, func() error { return addAddresses("eth0", nearIP+"/16", nearIP6+"/64") })
	inside(t, p.far, func() error { return addAddresses("eth0", farIP+"/16", farIP6+"/64") })
	p.ready(t, "eth0", "eth0")
	p.journal = filepath.Join(t.TempDir(), "aliases.json")
}

// netup adds 20 addresses of each family on near.
func (p pair) netup(t *testing.T, cidrs ...string) {
	t.Helper()
	for _, cidr := range cidrs {
		p.connprof(t, p.journal, "netup --dev eth0 --journal JOURNAL --ips 20 --cidr "+cidr).exits(t, exitDone)
	}
}

// serve starts a connprof serve on far and waits until it listens.
func (p pair) serve(t *testing.T, args ...string) *child {
	t.Helper()
	c := startBy(t, command(t, append([]string{"serve", "--token", serveToken}, args...)...), p.far.Start)
	c.until(t, "serve listens", func() bool { return strings.Contains(c.stdout.String(), "on the other machine") })
	return c
}

// run starts a connprof run on near against far. Later flags win over these.
func (p pair) run(t *testing.T, args ...string) *child {
	t.Helper()
	all := append([]string{"run", "--target", addressAt(farIP, servePort), "--token", serveToken, "--journal", p.journal,
		"-o", "rec.json"}, args...)
	return startBy(t, command(t, all...), p.near.Start)
}

// holding waits until a run has made its account and holds the connections.
func (c *child) holding(t *testing.T) {
	t.Helper()
	c.until(t, "the account", func() bool { return strings.Contains(c.stderr.String(), "wrote ") })
}

// ends sends a child a signal and waits for its end.
func (c *child) ends(t *testing.T, by syscall.Signal) result {
	t.Helper()
	c.signal(t, by)
	return c.wait(t)
}

// tells waits until a serve has written a line that contains all of the parts, and returns it.
func (c *child) tells(t *testing.T, parts ...string) (line string) {
	t.Helper()
	c.until(t, "serve says "+strings.Join(parts, ", "), func() bool {
		lines := strings.Split(c.stdout.String(), "\n")
		i := slices.IndexFunc(lines, func(l string) bool {
			return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(l, part) })
		})
		if i >= 0 {
			line = lines[i]
		}
		return i >= 0
	})
	return line
}

// serverPort is which column of /proc/net/tcp has a connection's server port: on the accepting host the local address's, on the
// connecting one the remote one's. The other column is of no use: in these namespaces a client's port can be any.
type serverPort int

const (
	serverPortIsLocal  serverPort = 1
	serverPortIsRemote serverPort = 2
)

// sockets counts a host's sockets by state, as the kernel lists them: those whose server port is in the range.
func sockets(t *testing.T, host *netcfg.Private, column serverPort, low, high int) map[string]int {
	t.Helper()
	states := map[string]int{}
	inside(t, host, func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil && name == "tcp" {
				return err
			}
			for _, line := range strings.Split(string(b), "\n")[1:] {
				f := strings.Fields(line)
				if len(f) < 4 {
					continue
				}
				if port := portOf(f[column]); low <= port && port <= high {
					states[f[3]]++
				}
			}
		}
		return nil
	})
	return states
}

// listed is what both hosts have on that many data ports.
func (p pair) listed(t *testing.T, ports int) (near, far map[string]int) {
	t.Helper()
	return sockets(t, p.near, serverPortIsRemote, servePort+1, servePort+ports),
		sockets(t, p.far, serverPortIsLocal, servePort+1, servePort+ports)
}

// The states of /proc/net/tcp (include/net/tcp_states.h).
const (
	tcpEstablished = "01"
	tcpListen      = "0A"
)

func portOf(address string) int {
	n, _ := strconv.ParseUint(address[strings.LastIndexByte(address, ':')+1:], 16, 16)
	return int(n)
}

// gone waits until neither host has a socket on the data ports, in whatever state.
func (p pair) gone(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute / 2); ; time.Sleep(20 * time.Millisecond) {
		near, far := p.listed(t, 20)
		if len(near)+len(far) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left on the data ports by state: %v on the connecting host, %v on the accepting one", near, far)
		}
	}
}

// nextRun is a small run against a serve that has been through something.
func (p pair) nextRun(t *testing.T) {
	t.Helper()
	c := p.run(t, "--ips", "1", "--conns", "500")
	c.wait(t).exits(t, exitDone)
	checkUp(t, readRecording(t, c.cmd.Dir+"/rec.json"), 500)
	p.gone(t)
}

// checkUp checks that n connections are up at the connecting end, and that both ends' accounts have them.
func checkUp(t *testing.T, rec *recording.Recording, n int) {
	t.Helper()
	client, server := bothEnds(t, rec)
	if client.Load.Established != n {
		t.Errorf("want %d connections up: %+v", n, client.Load)
	}
	holds(t, check.Endpoints(client, kernel.RoleClient, n), check.Endpoints(server, kernel.RoleServer, n))
}

func addressAt(ip string, port int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)).String()
}
