package load

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// server is the accepting worker. All shards hold the same listeners and take turns: one accepts until it has its
// fill and hands over to the next. One thread accepts faster than two connect, and as the only one it knows how much
// is queued for it.
//
// The listeners are watched with poll(2), which needs no kernel object that would stay with them; the accepted
// connections are in the shard's epoll set.
type server struct {
	config    Config
	shared    *shared
	listeners []int
	capacity  int // sockets a shard
	turns     *turns
	scenario  Scenario
	// serve takes charge of an accepted connection; acceptFlags are what it wants of its socket.
	serve       func(s *shard, fd int) (step, error)
	acceptFlags int
	gate        *gate    // nil where both ends are here
	reserve     *reserve // of threads
	barred      bool     // the kernel has refused a thread: what is queued stays there
	*actor
}

// spareShards take over from shards whose table turns out smaller than RLIMIT_NOFILE promised at first.
const spareShards = 1

func newServer(c Config, s *shared) (*server, error) {
	capacity, err := shardSockets()
	if err != nil {
		return nil, err
	}
	if capacity -= len(c.Ports); capacity < 1 {
		return nil, fmt.Errorf("RLIMIT_NOFILE leaves no room beside %d listeners; raise it (ulimit -n)", len(c.Ports))
	}
	sv := &server{config: c, shared: s, capacity: min(capacity, c.Connections), gate: newGate(c)}
	sv.scenario, _ = FindScenario(c.Scenario) // checked by the parent
	sv.serve, sv.acceptFlags = sv.watch, unix.SOCK_NONBLOCK
	if c.ThreadPerConnection {
		sv.serve, sv.acceptFlags = sv.serveByThread, 0
		if sv.reserve, err = newReserve(); err != nil {
			return nil, err
		}
	}
	if sv.actor, err = newActor(s, sv.scenario, c.Payload); err != nil {
		return nil, err
	}
	for i, port := range c.Ports {
		if sv.scenario.Listens {
			break // the listeners are what is to be measured
		}
		fd, err := listen(c.Server, port, sv.scenario.backlog(c, i), sv.gate)
		if err == nil && sv.scenario.deferAccept {
			err = unix.SetsockoptInt(fd, unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, deferSeconds)
		}
		if err != nil {
			return nil, err
		}
		sv.listeners = append(sv.listeners, fd)
	}
	shards := (c.Connections+sv.capacity-1)/sv.capacity + spareShards
	sv.turns = newTurns(shards)
	return sv, startShards(shards, sv.shard)
}

func listen(address netip.Addr, port uint16, backlog int, g *gate) (int, error) {
	family := unix.AF_INET
	if address.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a listening socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(address.AsSlice(), port)); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("bind to %s: %w", netip.AddrPortFrom(address, port), err)
	}
	if err := g.guard(fd); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", netip.AddrPortFrom(address, port), err)
	}
	return fd, nil
}

func (sv *server) begin() { sv.turns.pass() }

// shard waits for its turn, accepts until it is full, and then only watches what it holds.
func (sv *server) shard(ready chan<- error, i int) {
	s, err := enterShard(sv.capacity+len(sv.listeners), sv.wake)
	ready <- err
	if err != nil {
		return
	}
	watched := make([]unix.PollFd, 0, len(sv.listeners)+1)
	for _, fd := range append([]int{s.epoll}, sv.listeners...) {
		watched = append(watched, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	sv.turns.wait(i)
	sv.shared.serverShards.Add(1)
	capacity := sv.capacity
	if sv.scenario.Listens {
		sv.openListeners(s, i*capacity, min((i+1)*capacity, sv.config.Connections))
		capacity = len(s.held)
	}
	if sv.scenario.unaccepted {
		capacity = 0
	}
	for len(s.held) < capacity {
		if _, err := unix.Poll(watched, -1); err != nil {
			continue // EINTR
		}
		if watched[0].Revents != 0 {
			sv.take(s, s.wait(0))
		}
		for _, w := range watched[1:] {
			if w.Revents != 0 && sv.acceptQueued(s, int(w.Fd), capacity-len(s.held)) {
				capacity = len(s.held)
			}
		}
		if len(s.held) < capacity {
			gather()
		}
	}
	if !sv.barred && !sv.turns.pass() && capacity < sv.capacity && !sv.scenario.Listens && !sv.scenario.unaccepted {
		sv.shared.note(stepTables, unix.EMFILE)
	}
	for {
		sv.take(s, s.wait(-1))
	}
}

// gather lets connections queue up. A server that sleeps in poll has to be woken for each one, on another CPU; one that
// looks a thousand times a second finds them by the dozen.
func gather() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil) }

// openListeners opens the listening sockets numbered from low to high: each takes the place that a connection's
// client end would have.
func (sv *server) openListeners(s *shard, low, high int) {
	sh := sv.shared
	dealt := newTuples(sv.config)
	for i := low; i < high && sh.stop.Load() == 0; i++ {
		if !sh.attempt() {
			gather()
			i--
			continue
		}
		address, _, port := dealt.tuple(i)
		sh.first.CompareAndSwap(0, int64(Monotonic()))
		fd, err := listen(sv.config.Clients[address], port, 1, nil)
		if err != nil {
			sh.fail(stepListen, errno(errors.Unwrap(err)))
			continue
		}
		s.held = append(s.held, int32(fd))
		sh.accepted.Add(1)
		sh.established.Add(1)
		sh.last.Store(int64(Monotonic()))
	}
}

// take handles what epoll reported: a connection that never sends only ever closes.
func (sv *server) take(s *shard, events []unix.EpollEvent) {
	for _, e := range events {
		switch {
		case int(e.Fd) == sv.wake:
			s.catchUp(sv.actor)
		case closed(e.Events) && sv.shared.closing.Load() == 0:
			sv.shared.serversLost.Add(1)
			_ = unix.Close(int(e.Fd))
		}
	}
}

// acceptQueued takes what is queued now, up to room. It tells whether the shard is full before its time.
func (sv *server) acceptQueued(s *shard, listener, room int) (full bool) {
	before := len(s.held)
	defer func() { sv.shared.accepted.Add(int64(len(s.held) - before)) }()
	for range min(queued(listener), sv.allowed(room)) {
		fd, e := accept(listener, sv.acceptFlags)
		switch e {
		case 0:
		case unix.EAGAIN:
			return false
		case unix.EINTR, unix.ECONNABORTED:
			continue
		case unix.EMFILE: // RLIMIT_NOFILE was lowered: the next shard has a table of its own
			sv.shared.note(stepAccept, e)
			return true
		default:
			sv.pause(e)
			return false
		}
		if !sv.gate.admits(fd) {
			sv.shared.strangers.Add(1)
			_ = unix.Close(fd)
			continue
		}
		if at, err := sv.serve(s, fd); err != nil {
			sv.shared.note(at, errno(err))
			if sv.barred {
				return true
			}
			_ = unix.Close(fd)
			continue
		}
		s.held = append(s.held, int32(fd))
	}
	return false
}

// allowed bounds what is accepted by the number that was agreed on with a client on another machine.
func (sv *server) allowed(room int) int {
	if sv.gate == nil {
		return room
	}
	return min(room, sv.config.Connections-int(sv.shared.accepted.Load()))
}

// watch puts a connection into the shard's epoll set.
func (sv *server) watch(s *shard, fd int) (step, error) {
	return stepEpoll, s.add(fd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET)
}

// pause leaves the kernel a moment where it is out of something (ENFILE, ENOMEM); the connection stays in the queue.
func (sv *server) pause(e syscall.Errno) {
	sv.shared.note(stepAccept, e)
	_ = unix.Nanosleep(&unix.Timespec{Nsec: 10e6}, nil)
}
