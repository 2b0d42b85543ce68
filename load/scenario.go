package load

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// Scenario is a known situation that connections are brought into and held in.
type Scenario struct {
	Name string
	Help string
	// Client and Server are the states, by the kernel's names, that the ends are in while it is held; empty where an
	// end no longer exists.
	Client, Server string
	// Lasts is how long the kernel leaves the ends in these states, 0 for as long as nobody closes them.
	Lasts time.Duration
	// Sends says that Config.Payload matters.
	Sends bool
	// Listens says that what is opened is listening sockets, and no connection at all.
	Listens bool
	steps   []scenarioStep
	// deferAccept keeps the listener from finishing handshakes (TCP_DEFER_ACCEPT).
	deferAccept bool
	// unaccepted says that the server leaves connections in the accept queues, which are then full.
	unaccepted bool
}

// scenarioStep is something that one end does with each of its connections.
type scenarioStep struct {
	who kernel.Role // client or server
	do  action
}

type action byte

const (
	sendHello action = iota + 1
	recvHello
	sendPayload
	sendFile // the payload, from a file
	shutdownWrite
	closeAll
	exitProcess
	resetOnClose
	fillQueues
	takeStock // nothing is done, once all that epoll had told by then is worked off
)

// minute is TCP_TIMEWAIT_LEN, and net.ipv4.tcp_fin_timeout in a fresh network namespace.
const minute = 60 * time.Second

// Scenarios is the table of what connprof can hold.
var Scenarios = []Scenario{
	{Name: "idle", Help: "never a byte sent", Client: "ESTABLISHED", Server: "ESTABLISHED"},
	{Name: "hello", Help: "each side has sent 13 bytes and read the other's", Client: "ESTABLISHED", Server: "ESTABLISHED",
		steps: []scenarioStep{{kernel.RoleClient, sendHello}, {kernel.RoleServer, recvHello}, {kernel.RoleServer, sendHello}, {kernel.RoleClient, recvHello}}},
	{Name: "unread", Help: "the client has sent --payload bytes that the server does not read", Client: "ESTABLISHED",
		Server: "ESTABLISHED", Sends: true, steps: []scenarioStep{{kernel.RoleClient, sendPayload}}},
	{Name: "unread-client", Help: "the other way round: the server has sent, the client does not read",
		Client: "ESTABLISHED", Server: "ESTABLISHED", Sends: true, steps: []scenarioStep{{kernel.RoleServer, sendPayload}}},
	{Name: "sendfile", Help: "the client has sent --payload bytes of one file by sendfile(2), that the server does not read", Client: "ESTABLISHED",
		Server: "ESTABLISHED", Sends: true, steps: []scenarioStep{{kernel.RoleClient, sendFile}}},
	{Name: "unaccepted", Help: "the accept queue is full: the client has sent --payload bytes, the server does not accept", Client: "ESTABLISHED",
		Server: "ESTABLISHED", Sends: true, unaccepted: true, steps: []scenarioStep{{kernel.RoleClient, sendPayload}}},
	{Name: "backpressure", Help: "each side has sent until the kernel takes no more, and reads nothing", Client: "ESTABLISHED",
		Server: "ESTABLISHED", steps: []scenarioStep{{kernel.RoleClient, fillQueues}, {kernel.RoleServer, fillQueues}}},
	{Name: "half-closed", Help: "the client has closed its direction, the server has not", Client: "FIN_WAIT2",
		Server: "CLOSE_WAIT", steps: []scenarioStep{{kernel.RoleClient, shutdownWrite}}},
	{Name: "orphaned", Help: "the same, and the client process is gone", Client: "FIN_WAIT2", Server: "CLOSE_WAIT",
		Lasts: minute, steps: []scenarioStep{{kernel.RoleClient, shutdownWrite}, {kernel.RoleClient, exitProcess}}},
	{Name: "time-wait", Help: "both have closed, the client first", Client: "TIME_WAIT", Lasts: minute,
		steps: []scenarioStep{{kernel.RoleClient, closeAll}, {kernel.RoleServer, closeAll}}},
	{Name: "syn-recv", Help: "handshakes that the server does not finish", Client: "ESTABLISHED", Server: "SYN_RECV",
		Lasts: deferSeconds * time.Second, deferAccept: true},
	{Name: "listen", Help: "listening sockets, and no connection", Listens: true},
}

// FindScenario finds a scenario by its name; the empty name is idle.
func FindScenario(name string) (Scenario, bool) {
	if name == "" {
		name = "idle"
	}
	i := slices.IndexFunc(Scenarios, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return Scenarios[i], true
}

// services is how often a client address and port can be used: once for each server port, and by a listener once.
func (s Scenario) services(ports int) int {
	if s.Listens {
		return 1
	}
	return ports
}

// Capacity is how many connections the given numbers of client addresses and server ports allow, with all server ports at or
// above FirstClientPort.
func (s Scenario) Capacity(addresses, ports int) int {
	return addresses * s.services(ports) * (1<<16 - FirstClientPort - ports)
}

// Accepted tells whether the server accepts the connections.
func (s Scenario) Accepted() bool { return !s.deferAccept && !s.unaccepted }

// Acts tells whether anything is done with the connections once they are up.
func (s Scenario) Acts() bool { return len(s.steps) > 0 }

// Closes tells whether it closes connections that were up.
func (s Scenario) Closes() bool {
	return slices.ContainsFunc(s.steps, func(step scenarioStep) bool { return step.do >= shutdownWrite && step.do <= resetOnClose })
}

// deferSeconds is how long a deferred handshake may wait: longer than any measurement.
const deferSeconds = 600

var hello = []byte("Hello, world!")

// UnarrangedError says that connections which are up are not in the scenario. All else is as it was.
type UnarrangedError struct {
	Left, Of int
	// Stuck are those of Left that nothing was refused, and Why is what keeps them. Engine.Failures lists the errors of the others.
	Stuck int
	Why   string
}

func (e *UnarrangedError) Error() string {
	text := fmt.Sprintf("%d of %d connections did not get there", e.Left, e.Of)
	if e.Stuck > 0 {
		text += ": " + e.Why
	}
	return text
}

// Arrange brings the connections that are up into the scenario. It returns when every one is there, or cannot get there, or
// the time is up; the error is then an *UnarrangedError.
func (e *Engine) Arrange(s Scenario, timeout time.Duration) error {
	for i := range s.steps {
		if err := e.ArrangeStep(s, i, timeout); err != nil {
			return err
		}
	}
	return nil
}

// Steps is how many steps a scenario has.
func (s Scenario) Steps() int { return len(s.steps) }

// ArrangeStep is one step of Arrange. Where it is that of an end on another machine, it only takes note of it.
func (e *Engine) ArrangeStep(s Scenario, i int, timeout time.Duration) error {
	step := s.steps[i]
	if e.threads && step.who == kernel.RoleServer {
		return nil // its threads answer when they are spoken to
	}
	if step.do == shutdownWrite || step.do == closeAll {
		e.CloseOnPurpose()
	}
	p := e.worker(step.who)
	if p == nil {
		return nil
	}
	if err := e.arrange(p, step, timeout); err != nil {
		return fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return nil
}

func (e *Engine) arrange(p *process, step scenarioStep, timeout time.Duration) error {
	if step.do == exitProcess {
		return e.leave(p, timeout)
	}
	began := e.shared.arranged()
	up := int64(e.Progress().Up())
	if _, err := p.control.Write([]byte{commandAct, byte(step.do)}); err != nil {
		return fmt.Errorf("tell the load %s to act: %w", p.role, err)
	}
	for end := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		select {
		case <-p.done:
			return fmt.Errorf("%s", p.describe())
		default:
		}
		now := e.shared.arranged().since(began)
		switch {
		case now.acted >= up:
			return nil
		case now.acted+now.refused+now.stuck >= up:
			return now.unarranged(up, fmt.Sprintf("%d of %d bytes are in the receivers' queues, which net.ipv4.tcp_rmem bounds, as "+
				"net.ipv4.tcp_wmem does the senders'", now.delivered, up*int64(e.payload)))
		case time.Now().After(end):
			return now.unarranged(up, fmt.Sprintf("they did not get there within %v", timeout))
		}
	}
}

// Settle returns when the load processes have taken in what the kernel had told them when it was called, so that Progress has it. It
// is for after the ramp, and an error if they do not within that time.
func (e *Engine) Settle(timeout time.Duration) error {
	end := time.Now().Add(timeout)
	for role, shards := range map[kernel.Role]*counter{kernel.RoleClient: &e.shared.clientShards, kernel.RoleServer: &e.shared.serverShards} {
		p := e.worker(role)
		if p == nil || p.leaving.Load() || e.threads && role == kernel.RoleServer {
			continue
		}
		want := e.shared.settled.Load() + shards.Load()
		if _, err := p.control.Write([]byte{commandAct, byte(takeStock)}); err != nil {
			return fmt.Errorf("tell the load %s to look at its connections: %w", role, err)
		}
		for ; e.shared.settled.Load() < want; time.Sleep(time.Millisecond) {
			select {
			case <-p.done:
				return fmt.Errorf("%s", p.describe())
			default:
			}
			if time.Now().After(end) {
				return fmt.Errorf("the load %s has not looked at its connections within %v", role, timeout)
			}
		}
	}
	return nil
}

// arranged is what has become of the connections in a step of the scenario.
type arranged struct{ acted, refused, stuck, delivered int64 }

func (s *shared) arranged() arranged {
	return arranged{s.acted.Load(), s.refused.Load(), s.stuck.Load(), s.delivered.Load()}
}

func (a arranged) since(b arranged) arranged {
	return arranged{a.acted - b.acted, a.refused - b.refused, a.stuck - b.stuck, a.delivered - b.delivered}
}

func (a arranged) unarranged(up int64, why string) error {
	left := up - a.acted
	return &UnarrangedError{Left: int(left), Of: int(up), Stuck: int(left - a.refused), Why: why}
}

// leave ends one process on purpose.
func (e *Engine) leave(p *process, timeout time.Duration) error {
	p.leaving.Store(true)
	if _, err := p.control.Write([]byte{commandEnd}); err != nil {
		return fmt.Errorf("tell the load %s to end: %w", p.role, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(timeout):
		return fmt.Errorf("the load %s did not end within %v", p.role, timeout)
	}
}

// actor is how a worker's shards learn of the parent's commands: each has the eventfd in its epoll set.
type actor struct {
	wake    int
	shared  *shared
	payload []byte
	file    int // with the payload, -1 where none is sent
	actions [16]action
	count   counter
}

func newActor(s *shared, in Scenario, payload int) (*actor, error) {
	file, err := in.payloadFile(payload)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return &actor{wake: wake, shared: s, payload: make([]byte, payload), file: file}, nil
}

// act has every shard do something with every connection it holds.
func (a *actor) act(do action) {
	n := a.count.Load()
	a.actions[n%int64(len(a.actions))] = do
	a.count.Store(n + 1)
	_, _ = unix.Write(a.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // cannot overflow
}

// catchUp does what a shard has not done yet.
func (s *shard) catchUp(a *actor) {
	for ; s.acted < a.count.Load(); s.acted++ {
		do := a.actions[s.acted%int64(len(a.actions))]
		switch do {
		case sendPayload, sendFile, shutdownWrite:
			s.deliver(a, do)
			continue
		case fillQueues:
			s.fill(a)
			continue
		case takeStock:
			a.shared.settled.Add(1)
			continue
		}
		for _, fd := range s.held {
			if e := a.perform(do, int(fd)); e != 0 {
				a.refuse(e)
				continue
			}
			a.shared.acted.Add(1)
		}
	}
}

func (a *actor) perform(do action, fd int) syscall.Errno {
	switch do {
	case sendHello:
		return transfer(unix.Write, unix.POLLOUT, fd, hello)
	case recvHello:
		var b [13]byte
		return transfer(unix.Read, unix.POLLIN, fd, b[:])
	case shutdownWrite:
		return number(unix.Shutdown(fd, unix.SHUT_WR))
	case resetOnClose:
		// What the other end or a scenario has closed needs it no more.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		return 0
	case closeAll:
		return number(unix.Close(fd))
	}
	return syscall.EINVAL
}

// transfer reads or writes all of b.
func transfer(call func(int, []byte) (int, error), ready int16, fd int, b []byte) syscall.Errno {
	for len(b) > 0 {
		n, err := call(fd, b)
		switch {
		case err == unix.EAGAIN:
			poll := []unix.PollFd{{Fd: int32(fd), Events: ready}}
			if n, err := unix.Poll(poll, int(patience.Milliseconds())); n == 0 && err == nil {
				return syscall.EAGAIN
			}
		case err == unix.EINTR:
		case err != nil:
			return errno(err)
		case n == 0:
			return syscall.EPIPE
		default:
			b = b[n:]
		}
	}
	return 0
}

func number(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return errno(err)
}
