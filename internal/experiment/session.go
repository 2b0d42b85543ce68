package experiment

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// session is the accepting end of one run, for a client on another machine: a runner that does what the client asks for.
type session struct {
	*runner
	link     *peer.Link
	plan     *peer.Plan
	stop     <-chan struct{}
	told     peer.Progress
	arranged bool // a step of the scenario has been taken
}

// run makes the session from its plan to its end. The recording is not nil when there is an account.
func (s *session) run(deliver func(*recording.Recording) error) (*recording.Recording, error) {
	defer s.cleanUp()
	if err := s.ready(); err != nil {
		_ = s.link.Send(&peer.Refusal{Reason: peer.Text(err.Error())})
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if err := s.serve(); err != nil {
		_ = s.link.Send(&peer.Measured{Problem: peer.Text(err.Error())})
		return nil, err
	}
	if err := s.measure(); err != nil {
		_ = s.link.Send(&peer.Measured{Problem: peer.Text(err.Error())})
		return nil, err
	}
	left := s.handOver()
	err := deliver(s.recording)
	if left {
		spare(s.link.Err(), s.options.Abort)
		return s.recording, err
	}
	return s.recording, errors.Join(err, s.keep())
}

// ready makes everything ready for the first connection and tells the client.
func (s *session) ready() error {
	s.link.OnProgress(func(*peer.Progress) {})
	if err := s.prepare(); err != nil {
		return err
	}
	if s.probes != nil {
		if err := s.sampleSoftirqs(); err != nil {
			return err
		}
	}
	b := s.between
	return s.link.Send(&peer.Ready{Host: hostName(), Program: peer.Text(s.options.Version), Boot: bootID(),
		FirstPort: int(b.ports[0]), Backlog: b.backlog, Connections: s.conns, Capped: peer.Text(s.capped)})
}

// sampleSoftirqs finds the cache of accepted socks by the listeners, which have the same.
func (s *session) sampleSoftirqs() error {
	var cache uint64
	err := s.walkOwn(func(e *kernel.Endpoint) error {
		cache = e.Cache
		return nil
	})
	if err != nil || cache == 0 {
		return err
	}
	return s.probes.SampleSoftirqs(cache)
}

// open takes the first look at the kernel when the client is ready to connect.
func (s *session) open() error {
	if _, err := awaitUnless[*peer.Begin](s.stop, s.link, answerTime); err != nil {
		return err
	}
	if err := s.takeBaseline(); err != nil {
		return err
	}
	s.link.OnProgress(func(p *peer.Progress) { s.engine.Tell(toldOf(p)) })
	if err := s.engine.Begin(); err != nil {
		return err
	}
	return s.link.Send(&peer.Begun{})
}

// errStopped is what a client is told, and the session ends by, when the server is stopped.
var errStopped = errors.New("connprof serve was interrupted")

// awaitUnless awaits what a client has to say before its first connection, unless the server is stopped: then there is
// nothing to account for.
func awaitUnless[M peer.Message](stop <-chan struct{}, link *peer.Link, timeout time.Duration) (M, error) {
	over, hungUp := make(chan struct{}), make(chan bool)
	go func() {
		select {
		case <-stop:
			_ = link.Send(&peer.Refusal{Reason: errStopped.Error()})
			link.Close()
			hungUp <- true
		case <-over:
			hungUp <- false
		}
	}()
	m, err := peer.Await[M](link, timeout, peer.Unexpected)
	close(over)
	if <-hungUp {
		err = errStopped
	}
	return m, err
}

// serve does what the client asks for until that is the account, or the client is gone.
func (s *session) serve() error {
	ticker := time.NewTicker(talkEvery)
	defer ticker.Stop()
	w := &rampWatch{r: s.runner, moved: time.Now()}
	stop, ended, looked := s.stop, s.engine.Ended(), time.Now()
	for {
		select {
		case <-s.options.Abort:
			return ErrAborted
		case <-stop:
			stop = nil
			s.endRamp(errStopped.Error())
		case <-ended:
			ended = nil
			s.endRamp(s.engine.Err().Error())
		case m := <-s.link.Messages():
			if over, err := s.obey(m); over || err != nil {
				return err
			}
		case <-s.link.Done():
			if len(s.link.Messages()) == 0 {
				s.endRamp(lostText(s.gone()))
				s.quiet()
				return nil
			}
		case now := <-ticker.C:
			if now.Sub(looked) >= tick {
				looked = now
				w.look()
			}
			s.tell()
		}
	}
}

// quiet waits until what is queued has been accepted, for as long as that goes on.
func (s *session) quiet() {
	last := -1
	for end := time.Now().Add(giveUp); time.Now().Before(end); time.Sleep(tick) {
		now := s.engine.Progress().Accepted
		if now == last {
			return
		}
		last = now
	}
}

// gone is why the client is no longer there.
func (s *session) gone() error {
	if err := s.link.Err(); err != nil {
		return err
	}
	return &peer.LostError{Cause: errors.New("the control connection is closed")}
}

// tell says what has changed. Its failure ends the link, which serve notices.
func (s *session) tell() {
	p := s.engine.Progress()
	now := peer.Progress{Accepted: p.Accepted, Stop: peer.Text(s.interrupt)}
	if now != s.told {
		s.told = now
		_ = s.link.Send(&now)
	}
}

// obey does one thing that the client asks for, and tells whether the ramp is over.
func (s *session) obey(m peer.Message) (over bool, err error) {
	switch m := m.(type) {
	case *peer.Rest:
		return false, s.rest(m.Connections)
	case *peer.Act:
		return false, s.act(m.Step)
	case *peer.Measure:
		return true, nil
	case *peer.Bye:
		return true, errors.New("the client left before there was anything to measure")
	}
	return false, peer.Unexpected(m)
}

// restTime is how long the accepting end may lag behind a client that rests.
const restTime = 5 * time.Second

// rest looks at the batch. What the server cannot go on with is for the client to say.
func (s *session) rest(connections int) error {
	for end := time.Now().Add(restTime); s.engine.Progress().Accepted < connections && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		s.tell()
	}
	answer := &peer.Rested{}
	if s.probes != nil && s.batch == nil {
		p := s.engine.Progress()
		p.Established = max(p.Established, connections) // its own word may be on its way
		if err := s.takeBatch(p); err != nil {
			answer.Problem = peer.Text(err.Error())
		}
	}
	answer.Connections, answer.Capped = s.conns, peer.Text(s.capped)
	return s.link.Send(answer)
}

// act takes a step of the scenario.
func (s *session) act(step int) error {
	if step >= s.scenario.Steps() {
		return fmt.Errorf("the client asks for step %d of scenario %s", step, s.scenario.Name)
	}
	if !s.arranged && s.probes != nil {
		s.arranged = true
		if err := s.traceArranging(); err != nil {
			return err
		}
	}
	err := s.engine.ArrangeStep(s.scenario, step, arrangeTimeout)
	answer := &peer.Acted{}
	if err != nil {
		answer.Problem = peer.Text(err.Error())
	}
	return s.link.Send(answer)
}

// handOver sends the recording to whoever is still there, and tells whether the client has left. One that does not take it
// is noted in the recording, which is then all there is of the session.
func (s *session) handOver() (left bool) {
	var text strings.Builder
	err := s.link.Err()
	if err == nil {
		err = s.recording.Write(&text)
	}
	if err == nil {
		err = s.link.SendRecording([]byte(text.String()))
	}
	if err == nil {
		// Not even a server that is stopped hangs up before: what is on its way would be lost.
		left, err = s.hears(func(m peer.Message) bool { _, taken := m.(*peer.Taken); return taken }, nil)
	}
	if err != nil && s.recording.Interrupted == "" {
		s.recording.Interrupted = lostText(err)
	}
	return left || err != nil
}

// keep holds the connections until the client says good-bye.
func (s *session) keep() error {
	_, err := s.hears(func(peer.Message) bool { return false }, s.stop)
	if err != nil {
		return fmt.Errorf("while the connections were held: %w", err)
	}
	return nil
}

// hears waits for something that the client says. That it has left is no error, nor that the server is stopped; that it is
// gone without a good-bye is one, and so is the end of the load.
func (s *session) hears(wanted func(peer.Message) bool, stop <-chan struct{}) (left bool, err error) {
	for {
		select {
		case m := <-s.link.Messages():
			if _, bye := m.(*peer.Bye); bye || wanted(m) {
				return bye, nil
			}
		case <-s.link.Done():
			if len(s.link.Messages()) == 0 {
				return true, s.gone()
			}
		case <-s.engine.Ended():
			return false, s.engine.Err()
		case <-s.options.Abort:
			return true, nil
		case <-stop:
			return true, nil
		}
	}
}

// cleanUp ends the session's link before its engine, which the link would ask for its progress.
func (s *session) cleanUp() {
	s.link.Close()
	s.runner.cleanUp()
}

// newSession is the accepting end of a plan, with ports that are free.
func newSession(o *ServeOptions, link *peer.Link, plan *peer.Plan, firstPort, others int) *session {
	b := &between{end: kernel.RoleServer, server: localOf(link), backlog: backlog(), most: plan.Connections, others: others}
	b.setClients(plan.Clients)
	b.setPorts(firstPort, plan.Ports)
	options := Options{IPs: len(plan.Clients), Ports: plan.Ports, NoProfile: o.NoProfile || !plan.Profile, Hooks: o.Hooks,
		AllowMemory: o.AllowMemory, Scenario: plan.Scenario, Payload: plan.Payload, Started: time.Now(), Version: o.Version,
		Command: o.Command, Abort: o.Abort}
	if plan.Exact {
		options.Conns = plan.Connections
	}
	return &session{runner: &runner{options: options, between: b}, link: link, plan: plan, stop: o.Stop}
}

// localOf is the address that the client has reached the server by.
func localOf(link *peer.Link) netip.Addr {
	return link.Local().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
}

// backlog is the longest accept queue that this host allows.
func backlog() int {
	b, _ := os.ReadFile("/proc/sys/net/core/somaxconn")
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 1 {
		n = 128 // what it was on every kernel before 5.4
	}
	return min(n, netcfg.Backlog)
}

// traceArranging has what a scenario allocates traced and sampled.
func (r *runner) traceArranging() error {
	time.Sleep(loader.DrainDelay) // the batch's samples are in the ledger by then
	r.ledger.Arranging()
	return r.probes.TraceAllocations(sampleInterval(r.conns))
}
