package load

import (
	"regexp"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// client is the connecting worker. It numbers the connections and deals them out to its shards in stretches. As many
// shards as there are cores open theirs at a time.
type client struct {
	config Config
	shared *shared
	tuples tuples
	turns  *turns
	active int // shards at a time
	begun  time.Duration
	// portByOption says that the kernel has IP_LOCAL_PORT_RANGE (91d0b78c5177, 6.3).
	portByOption bool
	scenario     Scenario
	spares       spares
	pattern      *regexp.Regexp // of Config.Exchange
	*actor
}

func newClient(c Config, s *shared) (*client, error) {
	capacity, err := shardSockets()
	if err != nil {
		return nil, err
	}
	tuples, err := clientTuples(c)
	if err != nil {
		return nil, err
	}
	cl := &client{config: c, shared: s, tuples: tuples, portByOption: haveLocalPortRange(), active: runtime.NumCPU()}
	cl.spares.ports = tuples.sparePorts(c.Connections)
	cl.scenario, _ = FindScenario(c.Scenario) // checked by the parent
	if cl.actor, err = newActor(s, cl.scenario, c.Payload); err != nil {
		return nil, err
	}
	if c.Exchange != nil {
		if cl.pattern, err = c.Exchange.Compile(); err != nil {
			return nil, err
		}
	}
	if c.Rate > 0 {
		cl.active = 1 // connections are due one after the other
	}
	// Small runs are split among the shards that work at the same time.
	capacity = min(capacity, (c.Connections+cl.active-1)/cl.active)
	shards := (c.Connections + capacity - 1) / capacity
	cl.turns = newTurns(shards)
	return cl, startShards(shards, func(ready chan<- error, i int) {
		cl.shard(ready, i, i*capacity, min((i+1)*capacity, c.Connections))
	})
}

func haveLocalPortRange() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, 0) == nil
}

func (c *client) begin() {
	if c.scenario.Listens {
		return
	}
	c.begun = Monotonic()
	for range c.active {
		c.turns.pass()
	}
}

// clientShard is one shard's bookkeeping.
type clientShard struct {
	*shard
	client  *client
	to      sockaddrs
	up      []bool // by fd: is up
	waiting int    // connect() made, handshake or exchange not finished
	// exchanges are those of Config.Exchange, nil where nothing is said.
	exchanges *exchanges
}

// shard i waits for its turn and opens the connections numbered from low to high.
func (c *client) shard(ready chan<- error, i, low, high int) {
	s, err := enterShard(high-low, c.wake)
	ready <- err
	if err != nil {
		return
	}
	cs := &clientShard{shard: s, client: c, to: newSockaddrs(c.config), up: make([]bool, high-low+reservedFDs),
		exchanges: newExchanges(c)}
	c.turns.wait(i)
	c.shared.clientShards.Add(1)
	cs.open(low, high)
	c.turns.pass()
	cs.awaitLast()
	for {
		cs.take(cs.wait(cs.repeat()))
	}
}

// open opens the connections from low to high, collecting the finished ones as it goes.
func (cs *clientShard) open(low, high int) {
	c := cs.client
	batch := c.batch()
	for i := low; i < high; i++ {
		if c.shared.stop.Load() != 0 {
			return
		}
		cs.pace(i)
		for !c.shared.attempt() {
			if c.shared.stop.Load() != 0 {
				return
			}
			cs.take(cs.wait(1))
		}
		cs.connect(i)
		if i%batch == batch-1 {
			cs.take(cs.wait(0))
			cs.waitForServer()
		}
	}
}

// waitForServer keeps the accept queue from overflowing, which would cost each SYN beyond it a second. What has been answered has been
// accepted, and what has been given up waits no more.
func (cs *clientShard) waitForServer() {
	s := cs.client.shared
	window := cs.client.window()
	if !cs.client.scenario.Accepted() {
		return
	}
	there := &s.accepted
	if cs.exchanges != nil {
		there = &s.established
	}
	for s.attempted.Load()-s.failed.Load()-there.Load() > window && s.stop.Load() == 0 {
		cs.take(cs.wait(1))
	}
}

// pace waits until connection i is due.
func (cs *clientShard) pace(i int) {
	rate := cs.client.config.Rate
	if rate == 0 {
		return
	}
	due := cs.client.begun + time.Duration(i)*time.Second/time.Duration(rate)
	for {
		left := due - Monotonic()
		if left < time.Millisecond || cs.client.shared.stop.Load() != 0 {
			return
		}
		cs.take(cs.wait(int(left / time.Millisecond)))
	}
}

// connect makes one connection attempt. A failure is counted and leaves nothing open.
func (cs *clientShard) connect(i int) {
	s := cs.client.shared
	fd, at, err := cs.dial(cs.client.tuples.tuple(i))
	if err != nil {
		fd, at, err = cs.dialSpare(i, fd, at, err)
	}
	if err == nil {
		cs.waiting++
		return
	}
	s.fail(at, errno(err))
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func (cs *clientShard) dial(address, port int, local uint16) (fd int, at step, err error) {
	c := cs.client
	fd, err = unix.Socket(cs.to.family(), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, stepSocket, err
	}
	bindPort := local
	if c.portByOption {
		// Binding the address alone and narrowing the port range to one port leaves the choice to connect(),
		// which needs no search and shares a port among destinations.
		bindPort = 0
		if err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, int(local)<<16|int(local))
		}
	} else {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil && !c.config.bothOurs() {
		err = closeByReset(fd)
	}
	if err != nil {
		return fd, stepOption, err
	}
	if err = unix.Bind(fd, cs.to.client(address, bindPort)); err != nil {
		return fd, stepBind, err
	}
	if c.shared.first.Load() == 0 {
		c.shared.first.CompareAndSwap(0, int64(Monotonic()))
	}
	if err = unix.Connect(fd, cs.to.servers[port]); err != nil && err != unix.EINPROGRESS {
		return fd, stepConnect, err
	}
	// Writable means established; EPOLLET reports it once.
	if err = cs.add(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET); err != nil {
		return fd, stepEpoll, err
	}
	return fd, 0, nil
}

// take handles what epoll reported.
func (cs *clientShard) take(events []unix.EpollEvent) {
	s := cs.client.shared
	newly := 0
	for _, e := range events {
		fd := int(e.Fd)
		switch {
		case fd == cs.client.wake:
			cs.catchUp(cs.client.actor)
		case cs.up[fd] && cs.exchanges != nil:
			if s.closing.Load() == 0 {
				cs.listen(fd, e.Events)
			}
		case cs.exchanges != nil:
			newly += cs.converse(fd, e.Events)
		case cs.up[fd]:
			if closed(e.Events) && s.closing.Load() == 0 {
				s.clientsLost.Add(1)
				cs.up[fd] = false
				_ = unix.Close(fd)
			}
		case closed(e.Events):
			cs.waiting--
			s.fail(stepConnect, socketError(fd))
			_ = unix.Close(fd)
		case e.Events&unix.EPOLLOUT != 0:
			newly += cs.isUp(e.Fd)
		}
	}
	if newly > 0 {
		if cs.exchanges == nil {
			s.connected.Add(int64(newly))
		}
		s.established.Add(int64(newly))
		s.last.Store(int64(Monotonic()))
	}
}

// isUp notes a connection that is up, 1.
func (cs *clientShard) isUp(fd int32) int {
	cs.waiting--
	cs.up[fd] = true
	cs.held = append(cs.held, fd)
	return 1
}

// unansweredAtStop is how long an exchange may get no further once the ramp has been told to stop.
const unansweredAtStop = time.Second

// awaitLast waits for the last handshakes and gives up on those that make no progress for Config.Timeout.
func (cs *clientShard) awaitLast() {
	waiting, since := cs.waiting, Monotonic()
	for cs.waiting > 0 {
		cs.take(cs.wait(100))
		if cs.waiting != waiting {
			waiting, since = cs.waiting, Monotonic()
		}
		still, patience := Monotonic()-since, cs.client.config.Timeout
		if cs.exchanges != nil && cs.client.shared.stop.Load() != 0 {
			patience = unansweredAtStop
		}
		if still > patience {
			if cs.exchanges != nil {
				cs.giveUpRest()
			}
			for range cs.waiting {
				cs.client.shared.fail(stepTimeout, syscall.ETIMEDOUT)
			}
			return
		}
	}
}

func socketError(fd int) syscall.Errno {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return errno(err)
	}
	return syscall.Errno(n)
}
