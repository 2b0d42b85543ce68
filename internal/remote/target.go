package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// Options are the choices of a run whose accepting end is a connprof serve on another machine.
type Options struct {
	experiment.Options
	// Target is the HOST:PORT of the connprof serve, Token what it has printed. The connections are made from the addresses
	// in Journal, which netup writes.
	Target, Token, Journal string
}

// Validate refuses choices that make no sense, with an *experiment.InvalidError for the first.
func (o *Options) Validate() error {
	if err := checkScenario(o.Scenario); err != nil {
		return err
	}
	if err := o.Options.Validate(); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(o.Target)
	if err != nil || port == "" || host == "" {
		return experiment.Invalid("target", o.Target, "want HOST:PORT, as connprof serve prints it")
	}
	if a, err := netip.ParseAddr(host); o.IPv6 && err == nil && a.Is4() {
		return experiment.Invalid("target", o.Target, "it is an IPv4 address; leave out --ipv6, or give an IPv6 address")
	}
	switch {
	case o.ThreadPerConnection:
		return experiment.Invalid("threads-per-connection", nil, "it compares servers on one host; leave out --target")
	case len(o.AfterClose) > 0:
		return experiment.Invalid("after-close", nil, "it closes both ends, which are on one host then; leave out --target")
	case o.Cycles != 0:
		return experiment.Invalid("cycles", o.Cycles, "it starts both ends again, which are on one host then; leave out --target")
	case o.Conntrack:
		return experiment.Invalid("conntrack", nil, "it is put into a run's own network; leave out --target")
	case o.Rmem != 0 || o.Wmem != 0:
		field := "rmem"
		if o.Rmem == 0 {
			field = "wmem"
		}
		return experiment.Invalid(field, nil, "it is for the network of a run's own; leave it out, and set net.ipv4.tcp_%s on both machines", field)
	case o.Journal == "":
		return experiment.Invalid("journal", nil, "want a file name")
	}
	if err := peer.CheckToken(o.Token); err != nil {
		return experiment.Invalid("token", nil, "%v", err)
	}
	return nil
}

// checkScenario wants a scenario whose ends need not be on one host.
func checkScenario(name string) error {
	if slices.Contains(load.BetweenScenarios, name) {
		return nil
	}
	return experiment.Invalid("scenario", experiment.Word(name), "between two machines there are %s, whose ends need not be on one host",
		strings.Join(load.BetweenScenarios, ", "))
}

// Run makes the connecting end of a run whose accepting end is a connprof serve. See experiment.Run.
func Run(ctx context.Context, o Options) (*recording.Recording, error) {
	if err := limits.CheckPrivileges("run"); err != nil {
		return nil, err
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	plan, err := experiment.NewPlan(o.Options, &experiment.Ends{Here: kernel.RoleClient})
	if err != nil {
		return nil, err
	}
	return experiment.RunWith(ctx, plan, &target{options: &o})
}

// target is the accepting end on another machine, as the connecting end sees it: an experiment.Peer.
type target struct {
	options *Options
	ends    *experiment.Ends
	link    *peer.Link // nil until both have agreed to talk
	talked  sync.WaitGroup
	mu      sync.Mutex
	stop    string // why the server wants no more connections
	last    load.Progress
	moved   time.Time // when handshakes last made progress
	// resent is kernel.SYNsSentAgain a while after that, once it is watched.
	resent  int64
	watched bool
}

// Times that the other end gets, on top of what the network takes.
const (
	dialTime   = 10 * time.Second
	answerTime = time.Minute     // to make ready, to take a look at the kernel
	actTime    = time.Minute     // to bring its ends into a scenario
	reportTime = 3 * time.Minute // to measure and send
)

// talkEvery is how often an end tells the other what has changed: often enough that a full accept queue is noticed to
// have emptied.
const talkEvery = 10 * time.Millisecond

// Agree connects to the server and settles with it what is going to be opened.
func (t *target) Agree(plan *experiment.Plan) error {
	o := t.options
	t.ends = plan.Ends
	at, err := resolve(o.Target, o.IPv6)
	if err != nil {
		return err
	}
	t.ends.Server = at.Addr()
	if err := t.chooseClients(); err != nil {
		return err
	}
	caller, err := peer.NewClient(o.Token)
	if err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	conn, err := (&net.Dialer{Timeout: dialTime}).Dial("tcp", at.String())
	if err != nil {
		return fmt.Errorf("connect to connprof serve at %s: %w; is it running there, and does no firewall block TCP port %d?",
			o.Target, plainDial(err), at.Port())
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if len(t.ends.Clients) == 0 { // one address, and none of netup's
		t.ends.SetClients([]netip.Addr{local.Addr().Unmap()})
	}
	if t.link, err = caller.Open(conn); err != nil {
		return fmt.Errorf("talk to connprof serve at %s: %w", o.Target, err)
	}
	return t.negotiate(plan)
}

// resolve finds the target's address. Its family is IPv4 unless the target says otherwise.
func resolve(target string, ipv6 bool) (netip.AddrPort, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %s: want HOST:PORT", target)
	}
	network := "tcp4"
	if a, err := netip.ParseAddr(host); ipv6 || err == nil && a.Is6() {
		network = "tcp6"
	}
	a, err := net.ResolveTCPAddr(network, target)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find target %s: %w; give an address, and --ipv6 if it has only IPv6", target, err)
	}
	to := a.AddrPort()
	if to.Addr().Zone() != "" || to.Addr().IsLinkLocalUnicast() && to.Addr().Is6() {
		return netip.AddrPort{}, fmt.Errorf("target %s is a link-local address; give one that is valid beyond the link", target)
	}
	return netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), nil
}

// chooseClients takes the addresses that netup has added. A single one may be the host's own instead.
func (t *target) chooseClients() error {
	o := t.options
	aliases, err := netcfg.AliasesTo(o.Journal, t.ends.Server)
	if err != nil {
		return err
	}
	if len(aliases) >= o.IPs {
		t.ends.SetClients(aliases[:o.IPs])
		return nil
	}
	if o.IPs == 1 {
		return nil
	}
	return fmt.Errorf("--ips %d needs as many addresses here that lead to %s, and connprof netup has added %d; run: connprof "+
		"netup --dev DEV --cidr ADDRESS/LENGTH --ips %d, or give --ips 1 for the host's own address", o.IPs, t.ends.Server,
		len(aliases), o.IPs)
}

func plainDial(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Timeout() {
		return fmt.Errorf("no answer within %v", dialTime)
	}
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// negotiate tells what is wanted and takes what the server makes of it.
func (t *target) negotiate(plan *experiment.Plan) error {
	o := &plan.Options
	wanted := &peer.Request{Host: peer.Text(kernel.HostName()), Program: peer.Text(o.Version), Clients: t.ends.Clients,
		Connections: plan.Conns, Exact: o.Conns != 0, Ports: o.Ports, Scenario: plan.Scenario.Name, Payload: o.Payload,
		Profile: !o.NoProfile}
	if err := t.link.Send(wanted); err != nil {
		return t.refused(err)
	}
	ready, err := peer.Await[*peer.Ready](t.link, answerTime, peer.Unexpected)
	if err != nil {
		return t.refused(err)
	}
	if ready.FirstPort+o.Ports > 1<<16 {
		return fmt.Errorf("connprof serve at %s offers ports from %d, and %d are wanted", t.options.Target, ready.FirstPort, o.Ports)
	}
	t.ends.SetPorts(ready.FirstPort, o.Ports)
	t.ends.Backlog = ready.Backlog
	t.ends.OneKernel = ready.Boot != "" && ready.Boot == kernel.BootID()
	lower(plan, ready.Connections, ready.Capped)
	return nil
}

// lower takes the server's number where it is less.
func lower(plan *experiment.Plan, connections int, why string) {
	plan.Lower(connections, "the server: "+why)
}

// refused is an error with who said it.
func (t *target) refused(err error) error {
	var refusal *peer.RefusedError
	if errors.As(err, &refusal) {
		return fmt.Errorf("connprof serve at %s refuses: %w", t.options.Target, err)
	}
	return fmt.Errorf("connprof serve at %s: %w", t.options.Target, err)
}

// Begin has the server take its first look at the kernel, and starts the exchange of progress.
func (t *target) Begin(engine *load.Engine) error {
	if err := t.link.Send(&peer.Begin{}); err != nil {
		return t.refused(err)
	}
	t.link.OnProgress(func(p *peer.Progress) {
		engine.Tell(toldOf(p))
		t.mu.Lock()
		defer t.mu.Unlock()
		t.stop = p.Stop
	})
	if _, err := peer.Await[*peer.Begun](t.link, answerTime, peer.Unexpected); err != nil {
		return t.refused(err)
	}
	t.moved = time.Now()
	t.talked.Go(func() { t.talk(engine) })
	return nil
}

// talk tells the server how the connecting end gets on.
func (t *target) talk(e *load.Engine) {
	var told peer.Progress
	for {
		select {
		case <-t.link.Done():
			return
		case <-time.After(talkEvery):
		}
		if now := progressOf(e.Progress()); now != told && t.link.Send(&now) == nil {
			told = now
		}
	}
}

// unanswered is how long handshakes may go without an answer: longer than the silence by which a lost peer is known.
const unanswered = 12 * time.Second

// settled is when the handshakes that wait are those that may be unanswered: the kernel sends a SYN again after 1 s, and again.
const settled = time.Second

// silent is a silence on the control connection from which an end that does not answer handshakes may be gone, or the network.
const silent = 3 * time.Second

// Stop is why no more connections are to be opened: the server is gone or says so, or does not answer.
func (t *target) Stop(engine *load.Engine) string {
	if err := t.Err(); err != nil {
		return lostText(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != "" {
		return "the server says: " + t.stop
	}
	p := engine.Progress()
	waiting := p.Attempted - p.Established - p.Failed
	if p.Established != t.last.Established || p.Failed != t.last.Failed || waiting == 0 {
		t.last, t.moved, t.watched = p, time.Now(), false
	}
	still := time.Since(t.moved)
	if still > settled && !t.watched {
		t.resent, t.watched = kernel.SYNsSentAgain(), true
	}
	if still < unanswered || t.link.Silence() > silent { // the link says when a silent peer is lost
		return ""
	}
	// Where the kernel has not sent a SYN again for each, this end is too busy to see their answers.
	if again := kernel.SYNsSentAgain(); again >= 0 && again < t.resent+int64(waiting) {
		return ""
	}
	return fmt.Sprintf("%d handshakes have had no answer for %v; a firewall that drops SYNs is the likely cause, or NAT: let "+
		"TCP ports %s of %s through from %s", waiting, unanswered, portsText(t.ends.Ports), t.ends.Server,
		addressesText(t.ends.Clients))
}

func portsText(ports []uint16) string {
	if len(ports) == 1 {
		return fmt.Sprint(ports[0])
	}
	return fmt.Sprintf("%d-%d", ports[0], ports[len(ports)-1])
}

func addressesText(list []netip.Addr) string {
	if len(list) == 1 {
		return list[0].String()
	}
	return fmt.Sprintf("%s and %d more", list[0], len(list)-1)
}

// lostText is what is said of a peer that is gone.
func lostText(err error) string { return err.Error() + "; the report has this end only" }

// Err is why the server is gone, nil while it is there.
func (t *target) Err() error { return gone(t.link) }

// Gone is closed when the server is no longer there.
func (t *target) Gone() <-chan struct{} { return t.link.Done() }

// gone is why the other end is no longer there, nil while it is.
func gone(link *peer.Link) error {
	select {
	case <-link.Done():
		if err := link.Err(); err != nil {
			return err
		}
		return &peer.LostError{Cause: errors.New("the control connection is closed")}
	default:
		return nil
	}
}

// Rest has the server look at the batch, which rests at both ends.
func (t *target) Rest(plan *experiment.Plan, connections int) error {
	if t.link.Send(&peer.Rest{Connections: connections}) != nil {
		return nil // Stop notices that it is gone
	}
	rested, err := peer.Await[*peer.Rested](t.link, answerTime, peer.Unexpected)
	switch {
	case err != nil && t.Err() != nil:
		return nil
	case err != nil:
		return t.refused(err)
	case rested.Problem != "":
		return fmt.Errorf("connprof serve at %s gives up after the first %d: %s", t.options.Target, connections, rested.Problem)
	}
	lower(plan, rested.Connections, rested.Capped)
	return nil
}

// Act has the server take its part in a step of the scenario.
func (t *target) Act(step int) error {
	if t.link.Send(&peer.Act{Step: step}) != nil {
		return nil
	}
	acted, err := peer.Await[*peer.Acted](t.link, actTime+answerTime, peer.Unexpected)
	switch {
	case err != nil && t.Err() != nil:
		return nil
	case err != nil:
		return t.refused(err)
	case acted.Problem != "":
		return fmt.Errorf("connprof serve at %s: %s", t.options.Target, acted.Problem)
	}
	return nil
}

// Measure asks for the server's account, which is made while this end makes its own.
func (t *target) Measure() { _ = t.link.Send(&peer.Measure{}) } // Join notices

// Join takes in the server's recording, or says that it did not come.
func (t *target) Join(rec *recording.Recording) {
	data, err := t.link.ReceiveRecording(reportTime, peer.Unexpected)
	var server *recording.Recording
	if err == nil {
		server, err = recording.DecodeOne(data)
	}
	if err == nil {
		rec.Add(server)
		_ = t.link.Send(&peer.Taken{}) // the hold notices
		return
	}
	why := fmt.Sprintf("the server's account did not come: %v; the report has this end only", err)
	if t.Err() != nil {
		why = lostText(t.Err())
	}
	if rec.Interrupted == "" {
		rec.Interrupted = why
	}
	if !strings.Contains(rec.Interrupted, "this end only") {
		m := rec.Machines[0]
		m.Notes = append(m.Notes, why)
	}
}

// Linger keeps the connections for a server that is silent and may be there.
func (t *target) Linger(abort <-chan struct{}) { spare(t.Err(), abort) }

// Leave says good-bye. Afterwards nothing asks the engine for anything.
func (t *target) Leave() {
	if t.link == nil {
		return
	}
	_ = t.link.Send(&peer.Bye{})
	t.link.Close()
	t.talked.Wait()
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

func progressOf(p load.Progress) peer.Progress {
	return peer.Progress{Attempted: p.Attempted, Established: p.Established, Failed: p.Failed, Accepted: p.Accepted}
}

func toldOf(p *peer.Progress) load.Progress {
	return load.Progress{Attempted: p.Attempted, Established: p.Established, Failed: p.Failed, Accepted: p.Accepted}
}
