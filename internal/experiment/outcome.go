package experiment

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// settle is how long the kernel gets to finish what the last handshakes left to softirqs and RCU. What a scenario has
// closed is freed later and in batches: then slab memory is watched until it no longer falls.
const (
	settle     = 100 * time.Millisecond
	settleStep = 300 * time.Millisecond
	settleMost = 5 * time.Second
)

func (s *Stage) comeToRest() {
	time.Sleep(settle)
	if !s.plan.Scenario.Closes() {
		return
	}
	last := slabNow()
	for end := time.Now().Add(settleMost); time.Now().Before(end); {
		time.Sleep(settleStep)
		now := slabNow()
		if now >= last {
			return
		}
		last = now
	}
}

// slabNow is Slab in /proc/meminfo, 0 where it cannot be read: the account's own reading reports that.
func slabNow() uint64 {
	info, _ := kernel.ReadMeminfo()
	return info["Slab"]
}

// Measure makes the account of what is up, and a recording of it. Lost says that the other end is no longer heard of.
func (s *Stage) Measure(watch *Watch, lost bool) (*recording.Recording, error) {
	s.fillLoad(watch, lost)
	if err := s.profile.account(s); err != nil {
		return nil, err
	}
	o := &s.plan.Options
	return &recording.Recording{Schema: recording.Schema, Created: time.Now().UTC().Truncate(time.Second), Version: o.Version,
		Command: o.Command, Kind: recording.KindRun, Interrupted: watch.interrupt,
		Machines: []*recording.Machine{s.machine}}, nil
}

func (s *Stage) note(text string) { s.machine.Notes = append(s.machine.Notes, text) }

// fillLoad writes down what the load engine did.
func (s *Stage) fillLoad(watch *Watch, lost bool) {
	p := s.engine.Progress()
	l := s.machine.Load
	l.Timeline = watch.timeline
	l.Established, l.Failed = s.up(p, lost), p.Failed
	if p.Last > p.First && p.First > 0 {
		l.ConnectSeconds = (p.Last - p.First).Seconds()
		l.ConnectsPerSecond = float64(p.Established) / l.ConnectSeconds
	}
	if p.First > 0 {
		sinceFirst := load.Monotonic() - p.First
		l.FirstConnectSeconds = (time.Since(s.plan.Options.Started) - sinceFirst).Seconds()
	}
	l.Failures = []recording.Failure{}
	for _, f := range s.engine.Failures() {
		l.Failures = append(l.Failures, recording.Failure{Step: f.Step, Error: f.Why(), Count: f.Count})
	}
	for _, u := range s.unarranged {
		if u.Stuck > 0 {
			l.Failures = append(l.Failures, recording.Failure{Step: recording.StepScenario, Error: u.Why, Count: u.Stuck})
		}
	}
	s.fillExchange(l)
	if s.plan.served != nil && p.Lost > 0 {
		l.Failures = append(l.Failures, recording.Failure{Step: recording.StepScenario, Error: "the server closed it while it was up", Count: p.Lost})
	}
	if n := s.engine.PortsInUse(); n > 0 {
		s.note(fmt.Sprintf("%d attempts met a local port in use and took another", n))
	}
	if !kernel.ProcIsOwn() {
		s.note("/proc shows the processes of another pid namespace: their names and memory are left out; mount -t proc proc /proc")
	}
	client, server := s.engine.PIDs()
	l.ProcessRSSBytes = kernel.ResidentBytes(client) + kernel.ResidentBytes(server)
	s.fillServer(l)
}

// fillExchange writes down what was said on the connections so far.
func (s *Stage) fillExchange(l *recording.Load) {
	x := s.plan.Options.Exchange
	if x == nil {
		return
	}
	n := s.engine.Repeats()
	l.Exchange = &recording.Exchange{SentBytes: len(x.Send), Sent: quoted(x.Send), ExpectedBytes: x.Bytes, Expected: x.Pattern, OtherAnswer: s.engine.OtherAnswer(),
		EverySeconds: x.Every.Seconds(), Asked: n.Asked, Answered: n.Answered, Unanswered: n.Unanswered}
}

// shownOfSaid is how much is shown of what is said, in bytes.
const shownOfSaid = 40

// quoted is how text begins, with escapes.
func quoted(text []byte) string {
	switch {
	case len(text) == 0:
		return ""
	case len(text) > shownOfSaid:
		return strconv.QuoteToASCII(string(text[:shownOfSaid])) + " ..."
	}
	return strconv.QuoteToASCII(string(text))
}

// up is how many connections are up. The accepting end counts its own: the client's last word may be on its way, or lost. So
// does a connecting end that no longer hears of the other.
func (s *Stage) up(p load.Progress, lost bool) int {
	switch {
	case s.plan.Ends.Elsewhere(kernel.RoleClient):
		return p.Accepted
	case s.plan.served != nil:
		return max(0, p.Up()-p.Lost)
	case lost:
		return p.Established
	}
	return p.Up()
}

// noteDoubts writes down what limits the figures. What the load engine says is up is held against what the walk has found.
func (s *Stage) noteDoubts() {
	l, scenario := s.machine.Load, s.plan.Scenario
	up := l.Established
	for _, end := range []struct {
		role  kernel.Role
		state string
	}{{kernel.RoleClient, scenario.Client}, {kernel.RoleServer, scenario.Server}} {
		if end.state == "" || s.plan.Ends.Elsewhere(end.role) {
			continue
		}
		if walked := s.machine.CountIn(end.role, end.state); walked != up {
			s.note(fmt.Sprintf("the load engine had %d connections up and the walk found %d %s endpoints in %s", up, walked,
				end.role, end.state))
			l.Established = min(l.Established, walked)
			l.Failures = append(l.Failures, elsewhere(s.machine.Endpoints, end.role, end.state, up-walked)...)
		}
	}
	if s.others.company() {
		s.note("another connprof ran at the same time: its sockets are others, and what else it has is unexplained growth")
	}
}

// elsewhere says where the ends are that are not in the scenario's state, of which so many are missing.
func elsewhere(rows []recording.EndpointRow, role kernel.Role, state string, missing int) (list []recording.Failure) {
	for _, row := range rows {
		if n := min(row.Count, missing); n > 0 && row.Role == role && row.State != state {
			list = append(list, recording.Failure{Step: recording.StepScenario, Count: n,
				Error: fmt.Sprintf("the %s's end is in %s, not in %s", role, row.State, state)})
			missing -= n
		}
	}
	if missing > 0 {
		list = append(list, recording.Failure{Step: recording.StepScenario, Count: missing, Error: fmt.Sprintf("the %s's end is gone", role)})
	}
	return list
}

// hold keeps the connections open for the time asked for and checks at its end that all still are.
func hold(ctx context.Context, stage *Stage, watch *Watch, peer Peer) error {
	o := &stage.plan.Options
	if o.Hold <= 0 || watch.interrupt != "" {
		return nil
	}
	begun := time.Now()
	select {
	case <-time.After(o.Hold):
	case <-o.Stop:
	case <-ctx.Done():
		return nil
	case <-stage.engine.Ended():
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("while the connections were held: %w", stage.engine.Err())
	case <-peer.Gone():
		return fmt.Errorf("while the connections were held: %w", peer.Err())
	}
	l := stage.machine.Load
	l.HoldSeconds = time.Since(begun).Seconds()
	stage.fillExchange(l)
	still, err := stage.profile.stillUp(stage)
	if err != nil {
		return err
	}
	l.LostInHold = max(l.Established-still, 0) // more where a FIN came through meanwhile
	if l.LostInHold > 0 && stage.plan.served != nil {
		return fmt.Errorf("the server closed %d of %d connections while they were held, for %.1f s", l.LostInHold, l.Established, l.HoldSeconds)
	}
	if l.LostInHold > 0 {
		return fmt.Errorf("%d of %d connections were lost while they were held, for %.1f s", l.LostInHold, l.Established,
			l.HoldSeconds)
	}
	return nil
}
