// Package remote is a run between two machines: connprof serve accepts and profiles one end (Serve), a run with a target opens
// and profiles the other (Run). Both go through the phases of package experiment; what they say to each other is package peer's.
package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote/peer"
)

// ServeOptions are the choices of `connprof serve`.
type ServeOptions struct {
	Listen      string // address of the control port; the data ports follow it
	Ports       int    // how many of those there are for all sessions
	Token       string
	Conns       int // that all sessions may hold at a time, 0 for what memory allows
	Once        bool
	NoProfile   bool
	Hooks       kernel.HookKind
	AllowMemory int // percent of the available memory
	Version     string
	Command     []string
	// Listening is told where the server listens, once it does.
	Listening func(netip.AddrPort)
	// Said gets one line for each thing that happens.
	Said func(string)
	// Recorded gets each session's account, with the session's number from 1.
	Recorded func(int, *recording.Recording) error
	// Stop, once closed, ends the server and has its sessions account for what is up.
	Stop <-chan struct{}
}

// Validate refuses choices that make no sense, with an *experiment.InvalidError for the first.
func (o *ServeOptions) Validate() error {
	choices := experiment.Defaults()
	choices.Ports, choices.Hooks, choices.AllowMemory = o.Ports, o.Hooks, o.AllowMemory
	if err := choices.Validate(); err != nil {
		return err
	}
	if err := peer.CheckToken(o.Token); err != nil {
		return experiment.Invalid("token", nil, "%v", err)
	}
	if problem := listenProblem(o.Listen); problem != "" {
		return experiment.Invalid("listen", o.Listen, "%s", problem)
	}
	return nil
}

// listenProblem says what is wrong with an address to listen on, if anything is.
func listenProblem(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "want ADDRESS:PORT, or :PORT for all addresses"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "want a port from 1 to 65535"
	}
	a, err := netip.ParseAddr(host)
	switch {
	case host != "" && err != nil:
		return "want an address of this host, such as 192.168.1.10:8090"
	case a.Is6() && a.IsLinkLocalUnicast():
		return "it is a link-local address; give one that is valid beyond the link"
	}
	return ""
}

const (
	// maxSessions is how many a server has at a time.
	maxSessions = 4
	// sayEvery is the least time between two lines about strangers.
	sayEvery = time.Second
	// planTime is how long a client that has proved itself may take to say what it wants.
	planTime = 10 * time.Second
)

// server is a connprof serve.
type server struct {
	options   *ServeOptions
	peer      *peer.Server
	control   netip.AddrPort
	mu        sync.Mutex
	strangers strangers
	sessions  map[int]*promise
	closing   bool      // no session may begin any more
	number    int       // of the last session
	said      time.Time // when a line about strangers was last written
	unsaid    int       // such lines since
	once      chan error
	all       sync.WaitGroup
}

// promise is what a session has been given.
type promise struct{ firstPort, ports, conns int }

// Serve accepts the ends of runs on other machines until it is stopped. A session's failure does not end it. The end of the
// context ends its sessions without an account.
func Serve(ctx context.Context, o ServeOptions) error {
	own, err := peer.NewServer(o.Token)
	if err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; give another port with --listen", o.Listen, plainDial(err))
	}
	s := &server{options: &o, peer: own, control: l.Addr().(*net.TCPAddr).AddrPort(), sessions: map[int]*promise{},
		once: make(chan error, 1)}
	if int(s.control.Port())+o.Ports > 65535 {
		_ = l.Close()
		return fmt.Errorf("%d data ports do not fit above control port %d; lower --ports or give a lower --listen", o.Ports,
			s.control.Port())
	}
	go s.accept(ctx, l)
	o.Listening(s.control)
	var ended error
	select {
	case <-o.Stop:
	case ended = <-s.once:
	}
	_ = l.Close()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.all.Wait()
	return ended
}

// accept takes control connections until the listener is closed.
func (s *server) accept(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of files or memory: others may give some back
			time.Sleep(100 * time.Millisecond)
			continue
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		go s.receive(ctx, c, s.letIn(c, from))
	}
}

// letIn takes a caller for a stranger, in whose place another one may have to go.
func (s *server) letIn(c net.Conn, from netip.Addr) *stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	caller, gone := s.strangers.add(c, from)
	if gone != nil {
		s.sayStranger(fmt.Sprintf("turned %s away: too many callers at once that have not shown the token", gone.from))
	}
	return caller
}

// leaves is called when a stranger has proved itself, or not, and tells whether it is turned away.
func (s *server) leaves(caller *stranger, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.strangers.remove(caller) {
		return true // somebody else has its place; that was said
	}
	if err != nil {
		s.sayStranger(fmt.Sprintf("turned %s away: %v", caller.from, err))
	}
	return err != nil
}

// sayStranger says something that anybody on the network can cause, and not often.
func (s *server) sayStranger(text string) {
	if time.Since(s.said) < sayEvery {
		s.unsaid++
		return
	}
	if s.unsaid > 0 {
		text += fmt.Sprintf(" (and %d more before)", s.unsaid)
	}
	s.said, s.unsaid = time.Now(), 0
	s.options.Said(text)
}

// receive has a caller prove itself, and makes a session of it.
func (s *server) receive(ctx context.Context, c net.Conn, caller *stranger) {
	from := caller.from
	link, err := s.peer.Accept(c)
	if s.leaves(caller, err) {
		if link != nil {
			link.Close()
		}
		return
	}
	number, err := s.begin()
	if err != nil {
		s.refuse(link, from, err)
		return
	}
	defer s.all.Done()
	err = s.session(ctx, number, link, from)
	s.mu.Lock()
	delete(s.sessions, number)
	s.mu.Unlock()
	if s.options.Once {
		select {
		case s.once <- err:
		default: // another one was first
		}
	}
}

func (s *server) refuse(link *peer.Link, from netip.Addr, why error) {
	_ = link.Send(&peer.Refusal{Reason: peer.Text(why.Error())})
	link.Close()
	s.say("refused %s: %v", from, why)
}

func (s *server) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Said(fmt.Sprintf(format, args...))
}

// begin counts a session, if there may be one more.
func (s *server) begin() (number int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return 0, errors.New("connprof serve is ending")
	}
	if len(s.sessions) >= maxSessions {
		return 0, fmt.Errorf("it has %d sessions already; try again when one has ended", maxSessions)
	}
	s.number++
	s.sessions[s.number] = &promise{}
	s.all.Add(1)
	return s.number, nil
}

// session serves one run. What it says names the session.
func (s *server) session(ctx context.Context, number int, link *peer.Link, from netip.Addr) error {
	wanted, err := awaitUnless[*peer.Request](s.options.Stop, link, planTime)
	if err != nil {
		link.Close()
		s.say("session %d from %s: %v", number, from, err)
		return err
	}
	options, err := choices(s.options, wanted)
	if err != nil {
		s.refuse(link, from, err)
		return err
	}
	p, others, err := s.promise(number, wanted, localOf(link))
	if err != nil {
		s.refuse(link, from, err)
		return err
	}
	at := &session{options: options, link: link, stop: s.options.Stop,
		ends: acceptingEnds(s.options.Conns, localOf(link), wanted, p.firstPort, others)}
	s.say("session %d from %s (%s): %d connections from %s to TCP %s, %s", number, from, wanted.Host, p.conns,
		counted(len(wanted.Clients), "address"), portsText(at.ends.Ports), wanted.Scenario)
	rec, err := at.run(ctx, func(rec *recording.Recording) error {
		if m := rec.Machines[0]; others > 0 {
			m.Notes = append(m.Notes, "another session of connprof serve ran at the same time: its memory is part of the "+
				"slab growth, not of the account")
		}
		return s.options.Recorded(number, rec)
	})
	return s.sum(number, rec, err)
}

// sum says how a session went.
func (s *server) sum(number int, rec *recording.Recording, err error) error {
	if err == nil && rec.Interrupted != "" {
		err = errors.New(rec.Interrupted)
	}
	up := 0
	if rec != nil {
		up = rec.Machines[0].Load.Established
	}
	if err != nil {
		s.say("session %d failed with %d connections up: %v", number, up, err)
		return fmt.Errorf("session %d: %w", number, err)
	}
	s.say("session %d is over: %d connections accepted and accounted for", number, up)
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ses", n, what)
}

// promise finds ports for what a client wants and holds its connections against what may still be promised.
func (s *server) promise(number int, wanted *peer.Request, on netip.Addr) (p *promise, others int, err error) {
	if wanted.Clients[0].Is4() != on.Is4() {
		return nil, 0, fmt.Errorf("the client's addresses are of another family than %s", on)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, other := range s.sessions {
		if n != number {
			others += other.conns
		}
	}
	conns := wanted.Connections
	if left := s.options.Conns - others; s.options.Conns > 0 && left < conns {
		if wanted.Exact || left < 1 {
			return nil, 0, fmt.Errorf("%d connections are more than the %d that connprof serve --conns leaves; lower --conns "+
				"there", conns, max(left, 0))
		}
		conns = left
	}
	first, err := s.freePorts(wanted.Ports, on)
	if err != nil {
		return nil, 0, err
	}
	p = s.sessions[number]
	p.firstPort, p.ports, p.conns = first, wanted.Ports, conns
	return p, others, nil
}

// freePorts finds consecutive data ports that nobody has.
func (s *server) freePorts(n int, on netip.Addr) (int, error) {
	lowest, highest := int(s.control.Port())+1, int(s.control.Port())+s.options.Ports
	for first := lowest; first+n-1 <= highest; first++ {
		free := true
		for port := first; port < first+n && free; port++ {
			free = !s.promised(port) && canBind(netip.AddrPortFrom(on, uint16(port)))
		}
		if free {
			return first, nil
		}
	}
	return 0, fmt.Errorf("it has no %d consecutive free data ports among TCP %d-%d; raise --ports of connprof serve, or lower "+
		"that of the run", n, lowest, highest)
}

func (s *server) promised(port int) bool {
	for _, p := range s.sessions {
		if port >= p.firstPort && port < p.firstPort+p.ports {
			return true
		}
	}
	return false
}

// canBind tells whether a port is free. It does not listen: a caller would be answered.
func canBind(at netip.AddrPort) bool {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(at.Port())})
	if at.Addr().Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	} else {
		to.(*unix.SockaddrInet4).Addr = at.Addr().As4()
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// As the listener itself will: what is left of earlier connections does not matter.
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) == nil && unix.Bind(fd, to) == nil
}
