package experiment

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// far is the accepting end on another machine, as the connecting end sees it. All methods take nil for a run with both
// ends on this host.
type far struct {
	link    *peer.Link
	name    string // host and port, as they were given
	between *between
	talked  sync.WaitGroup
	mu      sync.Mutex
	stop    string // why the server wants no more connections
	last    load.Progress
	moved   time.Time // when handshakes last made progress
}

// runTarget makes the connecting end of a run whose accepting end is a connprof serve.
func runTarget(o Options) (*account.Recording, error) {
	b := &between{end: kernel.RoleClient}
	return (&runner{options: o, between: b, far: &far{name: o.Target, between: b}}).run()
}

// Times that the other end gets, on top of what the network takes.
const (
	dialTime   = 10 * time.Second
	answerTime = time.Minute     // to make ready, to take a look at the kernel
	reportTime = 3 * time.Minute // to measure and send
)

// agree connects to the server and settles with it what is going to be opened.
func (f *far) agree(r *runner) error {
	if f == nil {
		return nil
	}
	o := &r.options
	target, err := resolve(o.Target, o.IPv6)
	if err != nil {
		return err
	}
	f.between.server = target.Addr()
	if err := f.chooseClients(o); err != nil {
		return err
	}
	caller, err := peer.NewClient(o.Token)
	if err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	conn, err := (&net.Dialer{Timeout: dialTime}).Dial("tcp", target.String())
	if err != nil {
		return fmt.Errorf("connect to connprof serve at %s: %w; is it running there, and does no firewall block TCP port %d?",
			f.name, plainDial(err), target.Port())
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if len(f.between.clients) == 0 { // one address, and none of netup's
		f.between.setClients([]netip.Addr{local.Addr().Unmap()})
	}
	if f.link, err = caller.Open(conn); err != nil {
		return fmt.Errorf("talk to connprof serve at %s: %w", f.name, err)
	}
	return f.settle(r)
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
func (f *far) chooseClients(o *Options) error {
	aliases, err := netcfg.AliasesTo(o.Journal, f.between.server)
	if err != nil {
		return err
	}
	if len(aliases) >= o.IPs {
		f.between.setClients(aliases[:o.IPs])
		return nil
	}
	if o.IPs == 1 {
		return nil
	}
	return fmt.Errorf("--ips %d needs as many addresses here that lead to %s, and connprof netup has added %d; run: connprof "+
		"netup --dev DEV --cidr ADDRESS/LENGTH --ips %d, or give --ips 1 for the host's own address", o.IPs, f.between.server,
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

// settle tells the plan and takes what the server makes of it.
func (f *far) settle(r *runner) error {
	o := &r.options
	plan := &peer.Plan{Host: hostName(), Program: peer.Text(o.Version), Clients: f.between.clients, Connections: r.conns,
		Exact: o.Conns != 0, Ports: o.Ports, Scenario: r.scenario.Name, Payload: o.Payload, Profile: !o.NoProfile}
	if err := f.link.Send(plan); err != nil {
		return f.refused(err)
	}
	ready, err := peer.Await[*peer.Ready](f.link, answerTime, peer.Unexpected)
	if err != nil {
		return f.refused(err)
	}
	if ready.FirstPort+o.Ports > 1<<16 {
		return fmt.Errorf("connprof serve at %s offers ports from %d, and %d are wanted", f.name, ready.FirstPort, o.Ports)
	}
	f.between.setPorts(ready.FirstPort, o.Ports)
	f.between.backlog = ready.Backlog
	f.between.oneKernel = ready.Boot != "" && ready.Boot == bootID()
	f.lower(r, ready.Connections, ready.Capped)
	return nil
}

// refused is an error with who said it.
func (f *far) refused(err error) error {
	var refusal *peer.RefusedError
	if errors.As(err, &refusal) {
		return fmt.Errorf("connprof serve at %s refuses: %w", f.name, err)
	}
	return fmt.Errorf("connprof serve at %s: %w", f.name, err)
}

// lower takes the server's number where it is less.
func (f *far) lower(r *runner, connections int, why string) {
	if connections > 0 && connections < r.conns {
		r.conns, r.capped = connections, "the server: "+why
	}
}

// begin has the server take its first look at the kernel, and starts the exchange of progress.
func (f *far) begin(r *runner) error {
	if f == nil {
		return nil
	}
	if err := f.link.Send(&peer.Begin{}); err != nil {
		return f.refused(err)
	}
	f.link.OnProgress(func(p *peer.Progress) {
		r.engine.Tell(toldOf(p))
		f.mu.Lock()
		defer f.mu.Unlock()
		f.stop = p.Stop
	})
	if _, err := peer.Await[*peer.Begun](f.link, answerTime, peer.Unexpected); err != nil {
		return f.refused(err)
	}
	f.moved = time.Now()
	f.talked.Go(func() { f.talk(r.engine) })
	return nil
}

// talk tells the server how the connecting end gets on.
func (f *far) talk(e *load.Engine) {
	var told peer.Progress
	for {
		select {
		case <-f.link.Done():
			return
		case <-time.After(talkEvery):
		}
		if now := progressOf(e.Progress()); now != told && f.link.Send(&now) == nil {
			told = now
		}
	}
}

// unanswered is how long handshakes may go without an answer: longer than the silence by which a lost peer is known.
const unanswered = 12 * time.Second

// farEnd is the guard that looks at the other machine.
func farEnd(r *runner, _ map[string]uint64) string {
	f := r.far
	if f == nil {
		return ""
	}
	if err := f.err(); err != nil {
		return lostText(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != "" {
		return "the server says: " + f.stop
	}
	p := r.engine.Progress()
	waiting := p.Attempted - p.Established - p.Failed
	if p.Established != f.last.Established || p.Failed != f.last.Failed || waiting == 0 {
		f.last, f.moved = p, time.Now()
	}
	if time.Since(f.moved) < unanswered {
		return ""
	}
	return fmt.Sprintf("%d handshakes have had no answer for %v; a firewall that drops SYNs is the likely cause, or NAT: let "+
		"TCP ports %s of %s through from %s", waiting, unanswered, portsText(f.between.ports), f.between.server,
		addressesText(f.between.clients))
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

// err is why the other end is gone, nil while it is there.
func (f *far) err() error {
	select {
	case <-f.gone():
		if err := f.link.Err(); err != nil {
			return err
		}
		return &peer.LostError{Cause: errors.New("the control connection is closed")}
	default:
		return nil
	}
}

// gone is closed when the other end is no longer there.
func (f *far) gone() <-chan struct{} {
	if f == nil || f.link == nil {
		return nil
	}
	return f.link.Done()
}

// rest has the server look at the batch, too, which rests at both ends.
func (f *far) rest(r *runner, connections int) error {
	if f == nil {
		return nil
	}
	err := f.link.Send(&peer.Rest{Connections: connections})
	if err != nil {
		return nil // the guard notices that it is gone
	}
	rested, err := peer.Await[*peer.Rested](f.link, answerTime, peer.Unexpected)
	switch {
	case err != nil && f.err() != nil:
		return nil
	case err != nil:
		return f.refused(err)
	case rested.Problem != "":
		return fmt.Errorf("connprof serve at %s gives up after the first %d: %s", f.name, connections, rested.Problem)
	}
	f.lower(r, rested.Connections, rested.Capped)
	return nil
}

// arrangeSteps brings the connections into the scenario, each end its part.
func (r *runner) arrangeSteps() error {
	if r.far == nil {
		return r.engine.Arrange(r.scenario, arrangeTimeout)
	}
	for i := range r.scenario.Steps() {
		if r.far.err() != nil {
			return nil // join says so
		}
		if err := r.far.act(i); err != nil {
			return err
		}
		if err := r.engine.ArrangeStep(r.scenario, i, arrangeTimeout); err != nil {
			return err
		}
	}
	return nil
}

func (f *far) act(step int) error {
	if f.link.Send(&peer.Act{Step: step}) != nil {
		return nil
	}
	acted, err := peer.Await[*peer.Acted](f.link, arrangeTimeout+answerTime, peer.Unexpected)
	switch {
	case err != nil && f.err() != nil:
		return nil
	case err != nil:
		return f.refused(err)
	case acted.Problem != "":
		return fmt.Errorf("connprof serve at %s: %s", f.name, acted.Problem)
	}
	return nil
}

// measure asks for the server's account, which is made while this end makes its own.
func (f *far) measure() {
	if f != nil {
		_ = f.link.Send(&peer.Measure{}) // join notices
	}
}

// join takes in the server's recording, or says that it did not come.
func (f *far) join(r *runner) {
	if f == nil {
		return
	}
	data, err := f.link.ReceiveRecording(reportTime, peer.Unexpected)
	var rec *account.Recording
	if err == nil {
		rec, err = account.Decode(data)
	}
	if err == nil {
		r.recording.Join(rec)
		_ = f.link.Send(&peer.Taken{}) // the hold notices
		return
	}
	why := fmt.Sprintf("the server's account did not come: %v; the report has this end only", err)
	if f.err() != nil {
		why = lostText(f.err())
	}
	if r.recording.Interrupted == "" {
		r.recording.Interrupted = why
	}
	if !strings.Contains(r.recording.Interrupted, "this end only") {
		r.note(why)
	}
}

// leave says good-bye. Afterwards nothing asks the engine for anything.
func (f *far) leave() {
	if f == nil || f.link == nil {
		return
	}
	_ = f.link.Send(&peer.Bye{})
	f.link.Close()
	f.talked.Wait()
}

// CheckTarget refuses options that make no sense between two machines.
func CheckTarget(o Options) error {
	switch {
	case o.ThreadPerConnection:
		return errors.New("--threads-per-connection compares servers on one host: leave out --target")
	case !slices.Contains(load.BetweenScenarios, o.Scenario):
		return fmt.Errorf("--scenario %s: with --target there are %s, whose ends need not be on one host", o.Scenario,
			strings.Join(load.BetweenScenarios, ", "))
	}
	if _, port, err := net.SplitHostPort(o.Target); err != nil || port == "" || o.Target[0] == ':' {
		return fmt.Errorf("--target %q: want HOST:PORT, as connprof serve prints it", o.Target)
	}
	if o.Journal == "" {
		return errors.New("--journal: want a file name")
	}
	if err := peer.CheckToken(o.Token); err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	return nil
}
