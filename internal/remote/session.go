package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// session is the accepting end of one run, for a client on another machine: it goes through the phases as the client asks.
type session struct {
	options  experiment.Options
	ends     *experiment.Ends
	link     *peer.Link
	stop     <-chan struct{}
	stage    *experiment.Stage
	watch    *experiment.Watch
	told     peer.Progress
	rested   bool // the batch has been looked at
	arranged bool // a step of the scenario has been taken
}

// choices are what a client wants and what the server has been told, if they make sense.
func choices(o *ServeOptions, wanted *peer.Request) (experiment.Options, error) {
	c := experiment.Defaults()
	c.IPs, c.Ports, c.NoProfile = len(wanted.Clients), wanted.Ports, o.NoProfile || !wanted.Profile
	c.Hooks, c.AllowMemory, c.Scenario, c.Payload = o.Hooks, o.AllowMemory, wanted.Scenario, wanted.Payload
	c.Started, c.Version, c.Command = time.Now(), o.Version, o.Command
	if wanted.Exact {
		c.Conns = wanted.Connections
	}
	if err := checkScenario(c.Scenario); err != nil {
		return c, err
	}
	return c, c.Validate()
}

// acceptingEnds are the ends of a session, with ports that are free. All sessions together may have so many connections, 0
// for no bound, of which some are promised to others.
func acceptingEnds(bound int, at netip.Addr, wanted *peer.Request, firstPort, promised int) *experiment.Ends {
	ends := &experiment.Ends{Here: kernel.RoleServer, Server: at, Backlog: netcfg.HostBacklog(), Most: wanted.Connections, Promised: promised}
	if left := bound - promised; bound > 0 && left < wanted.Connections {
		ends.Most, ends.Why = left, "connprof serve --conns"
	}
	ends.SetClients(wanted.Clients)
	ends.SetPorts(firstPort, wanted.Ports)
	return ends
}

// run makes the session from its plan to its end. The recording is not nil when there is an account.
func (s *session) run(ctx context.Context, deliver func(*recording.Recording) error) (*recording.Recording, error) {
	stage, err := s.ready(ctx)
	if err != nil {
		_ = s.link.Send(&peer.Refusal{Reason: peer.Text(err.Error())})
		s.link.Close()
		return nil, err
	}
	defer stage.Close()
	defer s.link.Close() // before that: it asks the engine for its progress
	if err := s.begin(); err != nil {
		return nil, err
	}
	rec, err := s.serve(ctx)
	if err != nil {
		_ = s.link.Send(&peer.Measured{Problem: peer.Text(err.Error())})
		return nil, err
	}
	left := s.handOver(ctx, rec)
	err = deliver(rec)
	if left {
		spare(s.link.Err(), ctx.Done())
		return rec, err
	}
	return rec, errors.Join(err, s.keep(ctx))
}

// ready makes everything ready for the first connection and tells the client.
func (s *session) ready(ctx context.Context) (*experiment.Stage, error) {
	s.link.OnProgress(func(*peer.Progress) {})
	if err := limits.CheckPrivileges("serve"); err != nil {
		return nil, err
	}
	plan, err := experiment.NewPlan(s.options, s.ends)
	if err != nil {
		return nil, err
	}
	if s.stage, err = experiment.Open(ctx, plan); err != nil {
		return nil, err
	}
	err = s.link.Send(&peer.Ready{Host: peer.Text(kernel.HostName()), Program: peer.Text(s.options.Version), Boot: kernel.BootID(),
		FirstPort: int(s.ends.Ports[0]), Backlog: s.ends.Backlog, Connections: plan.Conns, Capped: peer.Text(plan.Capped)})
	if err != nil {
		s.stage.Close()
		return nil, err
	}
	return s.stage, nil
}

// begin takes the first look at the kernel when the client is ready to connect.
func (s *session) begin() error {
	if _, err := awaitUnless[*peer.Begin](s.stop, s.link, answerTime); err != nil {
		return err
	}
	if err := s.stage.Baseline(); err != nil {
		return err
	}
	engine := s.stage.Engine()
	s.link.OnProgress(func(p *peer.Progress) { engine.Tell(toldOf(p)) })
	if err := engine.Begin(); err != nil {
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

// serve does what the client asks for until that is the account, or the client is gone, and makes the account.
func (s *session) serve(ctx context.Context) (*recording.Recording, error) {
	ticker := time.NewTicker(talkEvery)
	defer ticker.Stop()
	s.watch = s.stage.Watch(func(*load.Engine) string { return "" })
	engine := s.stage.Engine()
	stop, ended := s.stop, engine.Ended()
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return nil, experiment.ErrAborted
		case <-stop:
			stop = nil
			s.watch.End(errStopped.Error())
		case <-ended:
			ended = nil
			s.watch.End(engine.Err().Error())
		case m := <-s.link.Messages():
			var err error
			if over, err = s.obey(m); err != nil {
				return nil, err
			}
		case <-s.link.Done():
			if over = len(s.link.Messages()) == 0; over {
				s.watch.End(lostText(gone(s.link)))
				s.quiet()
			}
		case <-ticker.C:
			s.watch.Look()
			s.tell()
		}
	}
	rec, err := s.stage.Measure(s.watch, false)
	if ctx.Err() != nil {
		return nil, experiment.ErrAborted
	}
	return rec, err
}

// A session without a client waits until its queues are empty: until the kernel has no connections that the load has not accepted, and
// nothing has been accepted for quietFor. Where others want the CPUs as well that takes a while; it waits for quietTime at most, and
// looks every quietStep.
const (
	quietTime = 30 * time.Second
	quietFor  = 500 * time.Millisecond
	quietStep = 100 * time.Millisecond
)

// quiet waits until what is queued has been accepted.
func (s *session) quiet() {
	last, moved := -1, time.Now()
	for begun := moved; time.Since(begun) < quietTime; time.Sleep(quietStep) {
		queued, err := s.stage.Queued()
		now := s.stage.Engine().Progress().Accepted
		if now != last {
			last, moved = now, time.Now()
		}
		if (err != nil || queued == 0) && time.Since(moved) >= quietFor {
			return
		}
	}
}

// tell says what has changed. Its failure ends the link, which serve notices.
func (s *session) tell() {
	p := s.stage.Engine().Progress()
	now := peer.Progress{Accepted: p.Accepted, Stop: peer.Text(s.watch.Interrupt())}
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
	engine := s.stage.Engine()
	for end := time.Now().Add(restTime); engine.Progress().Accepted < connections && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		s.tell()
	}
	answer := &peer.Rested{}
	if !s.rested {
		s.rested = true
		p := engine.Progress()
		p.Established = max(p.Established, connections) // its own word may be on its way
		if err := s.stage.TakeBatch(p.Up(), func() error { return nil }); err != nil {
			answer.Problem = peer.Text(err.Error())
		}
	}
	plan := s.stage.Plan()
	answer.Connections, answer.Capped = plan.Conns, peer.Text(plan.Capped)
	return s.link.Send(answer)
}

// act takes a step of the scenario.
func (s *session) act(step int) error {
	scenario := s.stage.Plan().Scenario
	if step >= scenario.Steps() {
		return fmt.Errorf("the client asks for step %d of scenario %s", step, scenario.Name)
	}
	if !s.arranged {
		s.arranged = true
		if err := s.stage.TraceArranging(); err != nil {
			return err
		}
	}
	answer := &peer.Acted{}
	if err := s.stage.Act(step); err != nil {
		answer.Problem = peer.Text(err.Error())
	}
	return s.link.Send(answer)
}

// handOver sends the recording to whoever is still there, and tells whether the client has left. One that does not take it
// is noted in the recording, which is then all there is of the session.
func (s *session) handOver(ctx context.Context, rec *recording.Recording) (left bool) {
	var text strings.Builder
	err := s.link.Err()
	if err == nil {
		err = rec.Write(&text)
	}
	if err == nil {
		err = s.link.SendRecording([]byte(text.String()))
	}
	if err == nil {
		// Not even a server that is stopped hangs up before: what is on its way would be lost.
		left, err = s.hears(ctx, func(m peer.Message) bool { _, taken := m.(*peer.Taken); return taken }, nil)
	}
	if err != nil && rec.Interrupted == "" {
		rec.Interrupted = lostText(err)
	}
	return left || err != nil
}

// keep holds the connections until the client says good-bye.
func (s *session) keep(ctx context.Context) error {
	_, err := s.hears(ctx, func(peer.Message) bool { return false }, s.stop)
	if err != nil {
		return fmt.Errorf("while the connections were held: %w", err)
	}
	return nil
}

// hears waits for something that the client says. That it has left is no error, nor that the server is stopped; that it is
// gone without a good-bye is one, and so is the end of the load.
func (s *session) hears(ctx context.Context, wanted func(peer.Message) bool, stop <-chan struct{}) (left bool, err error) {
	for {
		select {
		case m := <-s.link.Messages():
			if _, bye := m.(*peer.Bye); bye || wanted(m) {
				return bye, nil
			}
		case <-s.link.Done():
			if len(s.link.Messages()) == 0 {
				return true, gone(s.link)
			}
		case <-s.stage.Engine().Ended():
			if ctx.Err() != nil {
				return true, nil
			}
			return false, s.stage.Engine().Err()
		case <-ctx.Done():
			return true, nil
		case <-stop:
			return true, nil
		}
	}
}

// localOf is the address that the client has reached the server by.
func localOf(link *peer.Link) netip.Addr {
	return link.Local().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
}
