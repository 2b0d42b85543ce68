package live

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/symbolise"
)

// openerKey is what is the same of all that one row of openers sums up: workers with the same code are one.
type openerKey struct {
	kind      recording.OpenerKind
	role      kernel.Role
	comm      string
	container string
	code      string // the frames' names
	why       string
	at        place // of a listener
}

// openerLate is of no recording: what is opened while the walk at the end goes on is left out.
const openerLate recording.OpenerKind = "late"

// openerRow is one row of openers while it is made up.
type openerRow struct {
	key    openerKey
	counts kernel.OpenerCounts
	pids   map[uint32]struct{}
	path   *path
	tenths [10]int
	// live is how many are open at the end, vanished those of them that the walk did not find though no event has closed them: their
	// close was missed. met is how many the walk found, some of those that were closed while it went on not among them.
	live, vanished, met int
	peers               map[netip.AddrPort]int
}

// open is how many were open when the time was over. What nobody was seen to open, the walk alone tells.
func (row *openerRow) open() int {
	if row.counts.Opened == 0 {
		return row.met
	}
	return row.live - row.vanished
}

// closed is how many of those that were opened have been closed. What was closed while the open ones were read counts as open.
func (row *openerRow) closed() int {
	return max(min(int(row.counts.Closed)+row.vanished, int(row.counts.Opened)-row.open()), 0)
}

// untracked is how many found no place among the open ones.
func (row *openerRow) untracked() int {
	if row.counts.Opened == 0 {
		return 0
	}
	return max(int(row.counts.Opened)-row.open()-row.closed(), 0)
}

// openerRows is all of them. Numbers are places in the list, counted from 1.
type openerRows struct {
	list  []*openerRow
	byKey map[openerKey]uint32
	byID  map[kernel.OpenerID]uint32
	// before and unseen are those of sockets that nobody was seen to open, late that of those that were opened during the last walk.
	before, unseen, late uint32
}

func (o *openerRows) row(key openerKey) (uint32, *openerRow) {
	if n, known := o.byKey[key]; known {
		return n, o.list[n-1]
	}
	row := &openerRow{key: key, pids: map[uint32]struct{}{}, peers: map[netip.AddrPort]int{}}
	o.list = append(o.list, row)
	n := uint32(len(o.list))
	o.byKey[key] = n
	return n, row
}

// gatherOpeners sums up the programs' counts, once nothing more is counted.
func (r *record) gatherOpeners() error {
	r.rows = openerRows{byKey: map[openerKey]uint32{}, byID: map[kernel.OpenerID]uint32{}}
	r.rows.before, _ = r.rows.row(openerKey{kind: recording.OpenerBefore})
	r.rows.unseen, _ = r.rows.row(openerKey{kind: recording.OpenerUnseen})
	r.rows.late, _ = r.rows.row(openerKey{kind: openerLate})
	err := r.probes.Openers(r.gather)
	for id, counts := range r.retired {
		r.gather(id, counts)
	}
	// The number of a row depends on the order of the map, and nothing else does.
	for i, m := range r.history.tenths(timeOf(r.result.Seconds)) {
		if m == nil {
			continue
		}
		for id, n := range m.live {
			if row, known := r.rows.byID[id]; known {
				r.rows.list[row-1].tenths[i] += n
			}
		}
	}
	return err
}

func (r *record) gather(id kernel.OpenerID, counts *kernel.OpenerCounts) {
	if counts.Opened == 0 && counts.Closed == 0 && counts.Arrived == 0 {
		return
	}
	key, p := r.keyOf(id, counts)
	n, row := r.rows.row(key)
	r.rows.byID[id] = n
	if to, known := r.paths.resolve(id); known {
		r.rows.byID[to] = n
	}
	row.counts.Add(counts)
	if row.path == nil {
		row.path = p
	}
	if pid := r.pidOf(id, counts); pid != 0 {
		row.pids[pid] = struct{}{}
	}
}

// pidOf is the process of an opener: of a listener, the one that has it.
func (r *record) pidOf(id kernel.OpenerID, counts *kernel.OpenerCounts) uint32 {
	if netns, port, is := id.Listener(); is {
		return r.listening[place{netns, port}].pid
	}
	return counts.PID
}

// keyOf tells what is known of an opener.
func (r *record) keyOf(id kernel.OpenerID, counts *kernel.OpenerCounts) (openerKey, *path) {
	key := openerKey{role: counts.Role, comm: counts.Comm}
	if netns, port, is := id.Listener(); is {
		key.kind, key.at, key.why = recording.OpenerListener, place{netns, port}, r.whyNoAccept()
		who := r.listening[key.at]
		key.comm, key.container = who.comm, r.asked.known.container(who.pid)
		return key, nil
	}
	key.container = r.asked.known.container(counts.PID)
	switch {
	case id == kernel.NoOpener:
		return openerKey{kind: recording.OpenerOther, why: "there were too many openers"}, nil
	case id.Kernel():
		key.kind, key.why = recording.OpenerKernel, "a thread of the kernel or of io_uring has no user stack"
		return key, nil
	}
	id, _ = r.paths.resolve(id)
	if p := r.paths.of(id.Path()); p != nil {
		key.kind, key.code = recording.OpenerPath, codeOf(p)
		if !p.whole() {
			key.why = p.why()
		}
		return key, p
	}
	key.kind, key.why = recording.OpenerProcess, r.whyNoStack(counts)
	return key, nil
}

func (r *record) whyNoStack(counts *kernel.OpenerCounts) string {
	switch {
	case !r.options.Stacks:
		return "stacks were not asked for"
	case counts.PID == 0:
		return "the process is outside connprof's PID namespace"
	}
	if r.paths.full.Load() {
		return "the processes have more different stacks than are kept"
	}
	return "more stacks were new at once than are copied"
}

// whyNoAccept says why connections have no more than their listener.
func (r *record) whyNoAccept() string {
	for _, h := range r.machine.Hooks {
		if h.Name == kernel.HookAccept && h.Kind == kernel.KindTracepoint && h.Function == "inet_sock_set_state" {
			return "accept() is not watched: this kernel has no kprobes; --accept-stacks watches it by system calls"
		}
	}
	return "nobody has accepted them"
}

func (p *path) whole() bool { return p.end.Whole() && !p.crowd }

func (p *path) why() string {
	if p.crowd {
		return "too many stacks begin alike to tell them apart"
	}
	return p.end.String()
}

// codeOf tells paths apart by what is shown of them.
func codeOf(p *path) string {
	var b strings.Builder
	for _, f := range p.frames {
		b.WriteString(f.ModulePath)
		b.WriteByte(0)
		b.WriteString(f.String())
		b.WriteByte(0)
	}
	return b.String()
}

// opened is the connection that an endpoint is, if it was seen to open. A close that the kernel has kept from the programs leaves the
// entry of a sock whose memory is another connection's by now.
func (r *record) opened(e *kernel.Endpoint) (s kernel.OpenSocket, is bool) {
	s, is = r.open[e.Sock]
	return s, is && s.Same(e)
}

// openerOf is the number of who opened an endpoint, 0 for what is no connection.
func (r *record) openerOf(e *kernel.Endpoint) uint32 {
	if s, opened := r.opened(e); opened {
		return r.rows.byID[s.Opener]
	}
	if !connected(e) {
		return 0
	}
	if _, before := r.before[e.Sock]; before {
		return r.rows.before
	}
	if s, opened := r.probes.OpenSocket(e.Sock); opened && s.Opener.Late() && s.Same(e) {
		return r.rows.late
	}
	return r.rows.unseen
}

// mostPeers is how many peers of an opener are counted, and shownPeers how many are recorded.
const mostPeers, shownPeers = 1000, 10

// sight notes any endpoint of the walk, asked for or not.
func (r *record) sight(e *kernel.Endpoint) {
	if s, entered := r.open[e.Sock]; entered && !s.Same(e) {
		r.others[e.Sock] = struct{}{}
	}
}

// meet notes an endpoint of the walk. It tells whether it is asked for.
func (r *record) meet(e *kernel.Endpoint) bool {
	if s, opened := r.opened(e); opened {
		r.flows.count(e, s.Role)
	}
	n := r.openerOf(e)
	if n == 0 {
		return r.options.Command == nil
	}
	row := r.rows.list[n-1]
	if !r.wants(row) {
		return false
	}
	row.met++
	peer := netip.AddrPortFrom(e.Remote.Addr().Unmap(), 0)
	if row.key.role == kernel.RoleClient {
		peer = netip.AddrPortFrom(peer.Addr(), e.Remote.Port())
	}
	if row.peers[peer] > 0 || len(row.peers) < mostPeers {
		row.peers[peer]++
	}
	return true
}

// wants tells whether an opener is asked for.
func (r *record) wants(row *openerRow) bool {
	switch row.key.kind {
	case openerLate:
		return false
	case recording.OpenerBefore, recording.OpenerUnseen:
		return r.options.Command == nil // else the socket's owner decides
	}
	return r.asked.processes(row.key.comm, row.key.container, row.pids)
}

// fill makes the row of a recording of it.
func (row *openerRow) fill(out *recording.Opener, share *account.OpenerShare, locations *locations) {
	c := &row.counts
	*out = recording.Opener{Kind: row.key.kind, Comm: row.key.comm, Container: row.key.container, Role: row.key.role, Why: row.key.why,
		Stack: recording.StackNone, Frames: []string{}, Opened: int(c.Opened), Closed: row.closed(), Failed: int(c.Failed),
		Live: row.open(), Lifetime: percentilesOf(&c.Lifetimes), Errors: errorsOf(c), Peers: peersOf(row.peers)}
	out.PIDs = pidsOf(row.pids)
	if len(out.PIDs) > 0 {
		out.PID = out.PIDs[0]
	}
	if len(out.PIDs) == 1 {
		out.PIDs = nil
	}
	if row.key.kind == recording.OpenerListener {
		out.Netns, out.Listener = row.key.at.netns, "*:"+strconv.Itoa(int(row.key.at.port))
	}
	if row.path != nil {
		out.Stack = recording.StackPart
		if row.path.whole() {
			out.Stack = recording.StackWhole
		}
		out.Frames, out.Locations = locations.add(row.path.frames)
	}
	if c.Opened > 0 {
		row.tenths[9] = row.open()
		out.Tenths = row.tenths[:]
	}
	if share != nil {
		out.LiveObjectBytes, out.LivePageBytes, out.LiveBufferBytes = share.ObjectBytes, share.PageBytes, share.BufferBytes
		out.LiveRxBytes, out.LiveTxBytes = share.RxBytes, share.TxBytes
		out.Objects, out.States, out.Idle = share.Objects, share.States, share.Idle
	}
}

func pidsOf(set map[uint32]struct{}) (pids []int) {
	const most = 64
	for pid := range set {
		pids = append(pids, int(pid))
	}
	slices.Sort(pids)
	return pids[:min(len(pids), most)]
}

func percentilesOf(l *kernel.Lifetimes) *recording.Percentiles {
	p50, any := l.Percentile(50)
	if !any {
		return nil
	}
	p90, _ := l.Percentile(90)
	p99, _ := l.Percentile(99)
	return &recording.Percentiles{P50: p50.Seconds(), P90: p90.Seconds(), P99: p99.Seconds()}
}

func errorsOf(c *kernel.OpenerCounts) (list []recording.OpenerError) {
	for e, n := range c.Errors {
		if n > 0 {
			list = append(list, recording.OpenerError{Error: kernel.OpenError(e).String(), Count: int(n)})
		}
	}
	slices.SortStableFunc(list, func(a, b recording.OpenerError) int { return cmp.Compare(b.Count, a.Count) })
	return list
}

func peersOf(counts map[netip.AddrPort]int) (list []recording.PeerCount) {
	for peer, n := range counts {
		text := peer.String()
		if peer.Port() == 0 {
			text = peer.Addr().String()
		}
		list = append(list, recording.PeerCount{Peer: text, Count: n})
	}
	slices.SortFunc(list, func(a, b recording.PeerCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Peer, b.Peer))
	})
	return list[:min(len(list), shownPeers)]
}

// nameOf is a function's name, or where in its file it is.
func nameOf(f *symbolise.Frame) string {
	if f.Function != "" {
		return f.Function
	}
	return fmt.Sprintf("%s+%#x", f.Module, f.Address)
}

// locations numbers places in code, each once.
type locations struct {
	list  []recording.Location
	known map[recording.Location]int
}

// add gives the names of frames, which come leaf first, and their numbers, root first.
func (l *locations) add(frames []symbolise.Frame) (names []string, numbers []int) {
	if l.known == nil {
		l.known = map[recording.Location]int{}
	}
	for _, f := range slices.Backward(frames) {
		at := recording.Location{Function: f.Function, File: f.File, Line: f.Line, Module: f.ModulePath, BuildID: f.BuildID,
			Address: f.Address, Start: f.MappingStart, Limit: f.MappingLimit, Offset: f.MappingOffset, Inlined: f.Inlined}
		if at.Module == "" {
			at.Module = f.Module
		}
		n, known := l.known[at]
		if !known {
			n = len(l.list)
			l.known[at] = n
			l.list = append(l.list, at)
		}
		names, numbers = append(names, nameOf(&f)), append(numbers, n)
	}
	return names, numbers
}
