// Package load opens many TCP connections and holds them: one process for the accepting end and one for the
// connecting end, each with locked OS threads ("shards") that own a private file-descriptor table and an epoll set.
// It knows nothing of profiling, and imports only what an end is called (package kernel).
//
// The program that uses it starts itself again for the two processes, so its main function (and a test's TestMain)
// calls WorkerMain first. Data leaves through counters in shared memory, which the workers update and the parent
// reads at any time.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// Config describes what to open. It is handed to the worker processes as JSON.
type Config struct {
	// End is the end to make here: kernel.RoleBoth, or the one whose other end is on another machine.
	End         kernel.Role
	Clients     []netip.Addr // local addresses of the connecting end
	Server      netip.Addr
	Ports       []uint16 // the server listens on all of them
	Connections int
	Rate        int // connections a second; 0: as fast as it goes
	Backlog     int // length of each listener's accept queue
	// Timeout is how long the connecting end waits for the last handshakes without any progress.
	Timeout time.Duration
	// Scenario is the name of one of Scenarios; Payload the bytes it sends over each connection, if it sends any.
	Scenario string
	Payload  int
	// ThreadPerConnection has a thread of the accepting end sleep in read(2) for each connection, in place of epoll.
	ThreadPerConnection bool
	// Served says that the accepting end is a program of somebody else's in the same network, all of which is the run's own. The
	// connecting end alone is made, and what the other has accepted is told by Tell.
	Served bool
	// Exchange is what the connecting end says, nil for nothing.
	Exchange *Exchange
}

// bothOurs tells whether both ends are processes of the engine's.
func (c Config) bothOurs() bool { return c.End == kernel.RoleBoth && !c.Served }

// MaxShardSockets bounds how many sockets one shard holds, whatever RLIMIT_NOFILE would allow: a table that stays
// small is cheap to grow.
const MaxShardSockets = 19_900

// FirstClientPort is the lowest local port the connecting end uses.
const FirstClientPort = 1024

// clientPorts is how many local ports one client address has to itself: all from FirstClientPort up, without the
// listeners' own, on which a bind would collide.
func (c Config) clientPorts() int {
	if c.End == kernel.RoleClient {
		ports, _ := HostPorts() // the worker reports an error
		return len(ports)
	}
	n := 1<<16 - FirstClientPort
	for _, p := range c.Ports {
		if p >= FirstClientPort {
			n--
		}
	}
	return n
}

// Capacity is how many connections the addresses and ports allow: one for each four-tuple.
func (c Config) Capacity() int {
	s, _ := FindScenario(c.Scenario)
	return len(c.Clients) * s.services(len(c.Ports)) * c.clientPorts()
}

func (c Config) check() error {
	if _, ok := FindScenario(c.Scenario); !ok {
		return fmt.Errorf("there is no scenario %q", c.Scenario)
	}
	if err := errors.Join(c.checkThreads(), c.checkEnd()); err != nil {
		return err
	}
	if c.End == kernel.RoleServer {
		return nil // which ports the connections come from is the client's affair
	}
	switch {
	case len(c.Clients) == 0 || len(c.Ports) == 0 || c.Connections < 1:
		return fmt.Errorf("nothing to open: %d client addresses, %d server ports, %d connections", len(c.Clients),
			len(c.Ports), c.Connections)
	case c.Connections > c.Capacity():
		return fmt.Errorf("%d connections need more four-tuples than %d client addresses x %d server ports x %d "+
			"client ports = %d", c.Connections, len(c.Clients), len(c.Ports), c.clientPorts(), c.Capacity())
	}
	return nil
}

// Progress is a look at the shared counters.
type Progress struct {
	Attempted   int // connections tried
	Connected   int // the connecting end's handshakes that are done
	Established int // up on the connecting end: also what Config.Exchange wants
	Accepted    int // accepted and in the server's epoll set, or with a thread of their own
	Failed      int // given up
	Lost        int // gone after they were up: the higher of the two ends' counts
	// First and Last are when the first connect() was made and the last connection came up, by CLOCK_MONOTONIC;
	// zero before.
	First, Last time.Duration
}

// Up is how many connections are up on both ends.
func (p Progress) Up() int { return min(p.Established, p.Accepted) }

// Failure is one reason for connections that failed.
type Failure struct {
	Step  string // socket, bind, connect, ...
	Errno syscall.Errno
	Count int
}

// Recovers tells whether the engine gets over the failure by itself: where one file-descriptor table is full, the
// accepting end goes on with the next.
func (f Failure) Recovers() bool { return f.Errno == syscall.EMFILE && f.Step == stepNames[stepAccept] }

// OfThread tells whether the kernel refused a thread, or memory for its stack.
func (f Failure) OfThread() bool { return f.Step == stepNames[stepThread] }

// MostFiles is how high RLIMIT_NOFILE can be raised on this host (fs.nr_open).
func MostFiles() (uint64, error) {
	text, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return 0, fmt.Errorf("read fs.nr_open: %w (is /proc mounted?)", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
