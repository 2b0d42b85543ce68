package leaks

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// What each path of a program opens, and in how many seconds. Each tenth of the leaking path's is never closed.
const (
	opens = 300
	pool  = 20
	paths = 3
)

// seconds is more on an emulated processor, which takes seconds to read a Go program's tables: what is opened meanwhile waits in
// a ring with room for 500 stacks.
func seconds() string {
	if inMachine() {
		return "20"
	}
	return "2"
}

var (
	leaked = counts{opened: opens, closed: opens - opens/10, live: opens / 10}
	pooled = counts{opened: opens, closed: opens - pool, live: pool}
	polled = counts{opened: opens, closed: opens}
	all    = counts{opened: paths * opens, closed: paths*opens - opens/10 - pool, live: opens/10 + pool}
)

// leaky is a program with three paths to connect().
type leaky struct {
	name    string
	command func(*testing.T) []string // the port, opens and seconds follow
	args    []string                  // and these
	// leak, pool and poll are in the frames' names. Empty: names are not available, and the paths are told apart by address.
	leak, pool, poll string
	// workers is how many processes do all of it, beside one that only waits; 0: it is the process itself.
	workers int
	// moves tells that a function may be at several addresses in a run, so that one path is several openers.
	moves bool
	// whole tells that the stacks reach down to where the thread begins.
	whole bool
	// reaches are other functions on the way, root first.
	reaches []string
	more    func(*testing.T, *recording.Machine, recording.Opener)
}

const (
	cLeak = "leak_orders"
	cPool = "pool_users"
	cPoll = "poll_prices"
)

var programs = []leaky{
	{name: "C without frame pointers", command: single("leak", byCompiler("gcc", "leak.c", "-O2", "-fomit-frame-pointer")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"_start", "main", cLeak, "connect"}},
	{name: "C with frame pointers", command: single("leak-fp", byCompiler("gcc", "leak.c", "-O2", "-fno-omit-frame-pointer")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"_start", "main", cLeak, "connect"}},
	{name: "C with debug information", command: single("leak-g", byCompiler("gcc", "leak.c", "-O2", "-g")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"main", cLeak, "connect"}, more: hasLines},
	{name: "C with threads", command: single("leak-threads", byCompiler("gcc", "leak.c", "-O2", "-DTHREADS", "-pthread")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"one_path", cLeak, "connect"}},
	{name: "C whose first thread has ended", command: single("leak-leaderless", byCompiler("gcc", "leak.c", "-O2", "-DLEADERLESS", "-pthread")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"rest", cLeak, "connect"}},
	{name: "C with workers", command: single("leak-forks", byCompiler("gcc", "leak.c", "-O2", "-DFORKS")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, workers: 3, reaches: []string{"_start", "main", "work", cLeak, "connect"}},
	{name: "C in a library loaded later", command: withLibrary,
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"_start", "main", "leak_main", cLeak, "connect"}},
	{name: "C++", command: single("leak-cpp", byCompiler("g++", "leak.cpp", "-O2")),
		leak: "shop::Orders::leak_orders", pool: "shop::Users<shop::Connection, 20ul>::pool_users",
		poll: "shop::poll_prices", whole: true, reaches: []string{"_start", "main", "leak_orders", "connect"}},
	// musl has neither unwind tables nor frame pointers: its code tells the frames.
	{name: "C, static with musl", command: single("leak-musl", byCompiler("musl-gcc", "leak.c", "-O2", "-static")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"main", cLeak, "connect"}},
	{name: "python with a module in C", command: withModule, leak: cLeak, pool: cPool, poll: cPoll, whole: true,
		reaches: []string{"_start", "Py_", cLeak, "connect"}},
	{name: "node, connect() at once", command: byNode, leak: cLeak, pool: cPool, poll: cPoll, moves: true,
		reaches: []string{cLeak, "connect"}},
}

// statics need no library, and run in the virtual machines, too.
var statics = []leaky{
	{name: "C, static", command: single("leak-static", byCompiler("gcc", "leak.c", "-O2", "-static")),
		leak: cLeak, pool: cPool, poll: cPoll, whole: true, reaches: []string{"_start", "main", cLeak, "connect"}},
	{name: "C, static and stripped", command: single("leak-bare", byCompiler("gcc", "leak.c", "-O2", "-static", "-s")), whole: true,
		more: hasAddresses},
	{name: "Go", command: single("shop", byGo("shop")), leak: "main.(*shop).leakOrders", pool: "main.(*shop).poolUsers",
		poll: "main.pollPrices", whole: true, reaches: []string{"main.open", "leakOrders", "net.Dial", "syscall.connect"}},
	{name: "Go, stripped", command: single("shop-bare", byGo("shop", "-ldflags=-s -w")), leak: "main.(*shop).leakOrders",
		pool: "main.(*shop).poolUsers", poll: "main.pollPrices", whole: true,
		reaches: []string{"main.open", "leakOrders", "net.Dial", "syscall.connect"}},
}

// arguments are the program with all its arguments.
func (p leaky) arguments(t *testing.T, s *server) []string {
	return append(append(p.command(t), s.port(), strconv.Itoa(opens), seconds()), p.args...)
}

// scale is how many times all is done.
func (p leaky) scale() int { return max(1, p.workers) }

// recorded has connprof start a program, and ends the record when the program has opened all.
func (p leaky) recorded(t *testing.T) (m *recording.Machine, pids []int) {
	t.Helper()
	s := newServer(t, here).serve(silent)
	r := newRecord(t, append([]string{"--duration", forever, "--"}, p.arguments(t, s)...)...)
	r.tell(t)
	r.says(t, "done")
	pids = descendants(r.pid())
	forget(t, pids)
	want := all.times(p.scale())
	s.saw(t, want.opened, want.closed)
	return r.ends(t), pids
}

// forget removes at the end what node has written about its functions.
func forget(t *testing.T, pids []int) {
	t.Cleanup(func() {
		for _, pid := range pids {
			_ = os.Remove(fmt.Sprintf("/tmp/perf-%d.map", pid))
		}
	})
}

func TestALeakIsFoundInTheCodeThatLeaks(t *testing.T) { findLeaks(t, programs) }

func TestALeakOfAStaticProgramIsFound(t *testing.T) { findLeaks(t, statics) }

func findLeaks(t *testing.T, programs []leaky) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			m, pids := p.recorded(t)
			if want, got := all.times(p.scale()), total(m.Record); !got.agrees(want, m) {
				t.Errorf("%+v in all, want %+v", got, want)
			}
			if p.whole && (m.Record.Stacks.Part != 0 || m.Record.Stacks.None != 0) {
				t.Errorf("stacks are not whole: %+v", m.Record.Stacks)
			}
			if p.leak == "" {
				p.byAddress(t, m, pids)
			} else {
				p.byName(t, m, pids)
			}
		})
	}
}

// byName checks each path's counts, and that the leaking one is the first of all.
func (p leaky) byName(t *testing.T, m *recording.Machine, pids []int) {
	t.Helper()
	for function, want := range map[string]counts{p.leak: leaked, p.pool: pooled, p.poll: polled} {
		openers := through(m, function, pids...)
		if got := sum(openers); !got.agrees(want.times(p.scale()), m) {
			t.Errorf("%s has %+v, want %+v", function, got, want.times(p.scale()))
		}
		if !p.moves && len(openers) != 1 {
			t.Errorf("%s is in %d openers", function, len(openers))
		}
	}
	list := clients(m)
	if len(list) == 0 || !calls(list[0], p.leak) || !of(list[0], pids) {
		t.Fatalf("the first opener is not %s", p.leak)
	}
	if at := inOrder(list[0].Frames, p.reaches); at != "" {
		t.Errorf("%s is not on the way, or not where it should be: %q", at, list[0].Frames)
	}
	if p.workers > 0 && len(list[0].PIDs) != p.workers {
		t.Errorf("the workers are %v", list[0].PIDs)
	}
	p.grows(t, list[0])
	if p.more != nil {
		p.more(t, m, list[0])
	}
}

// inOrder looks for names in the frames, each after the one before. It gives the first that is not there.
func inOrder(frames, names []string) string {
	at := 0
	for _, name := range names {
		i := slices.IndexFunc(frames[at:], func(frame string) bool { return strings.Contains(frame, name) })
		if i < 0 {
			return name
		}
		at += i + 1
	}
	return ""
}

// grows checks that the leak is seen to grow, to what is live at the end. Between them more can be open for a moment: a client's
// end that is closed waits for the server to say that it knows.
func (p leaky) grows(t *testing.T, o recording.Opener) {
	t.Helper()
	if len(o.Tenths) != 10 || !p.moves && (o.Tenths[9] != o.Live || o.Tenths[0] >= o.Live) {
		t.Errorf("%d are live, and by tenths of the time %v were", o.Live, o.Tenths)
	}
	if o.Stack == recording.StackWhole && o.Lifetime == nil && o.Closed > 0 {
		t.Errorf("nothing is said of how long %d lived that were closed", o.Closed)
	}
}

// byAddress checks the counts of paths that have no names.
func (p leaky) byAddress(t *testing.T, m *recording.Machine, pids []int) {
	t.Helper()
	var found []counts
	for _, o := range clients(m) {
		if !of(o, pids) {
			t.Errorf("an opener of process %d", o.PID)
		}
		found = append(found, sum([]recording.Opener{o}))
	}
	for _, want := range []counts{leaked, pooled, polled} {
		others := slices.DeleteFunc(slices.Clone(found), func(got counts) bool { return got.agrees(want, m) })
		if n := len(found) - len(others); n != 1 {
			t.Errorf("%d openers have %+v", n, want)
		}
	}
	if list := clients(m); p.more != nil && len(list) > 0 {
		p.more(t, m, list[0])
	}
}

// places are where an opener's code is, root first.
func places(t *testing.T, m *recording.Machine, o recording.Opener) (list []recording.Location) {
	t.Helper()
	if len(o.Locations) != len(o.Frames) {
		t.Fatalf("%d frames and %d locations", len(o.Frames), len(o.Locations))
	}
	for _, i := range o.Locations {
		list = append(list, m.Locations[i])
	}
	return list
}

// hasLines checks the lines of leak.c that call, and what is inlined there.
func hasLines(t *testing.T, m *recording.Machine, o recording.Opener) {
	t.Helper()
	wants := []recording.Location{
		{Function: cLeak, Line: lineOf(t, "leak.c", "/* leak_orders opens */")},
		{Function: "open_connection", Line: lineOf(t, "leak.c", "/* open_connection calls connect */"), Inlined: true},
	}
	for _, want := range wants {
		if !slices.ContainsFunc(places(t, m, o), func(l recording.Location) bool {
			return l.Function == want.Function && l.Line == want.Line && l.Inlined == want.Inlined && filepath.Base(l.File) == "leak.c"
		}) {
			t.Errorf("%s, line %d of leak.c, is not among %+v", want.Function, want.Line, places(t, m, o))
		}
	}
}

func lineOf(t *testing.T, file, mark string) int {
	t.Helper()
	text, err := os.ReadFile("programs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no %q", file, mark)
	}
	return strings.Count(before, "\n") + 1
}

// hasAddresses checks that code without names is told by its file and its address there.
func hasAddresses(t *testing.T, m *recording.Machine, o recording.Opener) {
	t.Helper()
	list := places(t, m, o)
	if len(list) < 4 {
		t.Errorf("%d frames: %q", len(list), o.Frames)
	}
	for i, l := range list {
		if l.Function != "" || filepath.Base(l.Module) != "leak-bare" || l.Address < l.Offset || o.Frames[i] == "" {
			t.Errorf("%q is %+v", o.Frames[i], l)
		}
	}
}

// net.connect() calls connect() from a queue of node's own, where the program's functions have returned: all paths are one.
func TestNodeConnectsWithoutTheFunctionThatAskedForIt(t *testing.T) {
	p := leaky{command: byNode, args: []string{"net"}}
	m, pids := p.recorded(t)
	if got := total(m.Record); got != all {
		t.Errorf("%+v in all, want %+v", got, all)
	}
	// Its engine moves the functions. On a busy host more stacks can be new at once than are copied, which have room for 500: those are
	// counted, with that reason.
	got, unread := sum(through(m, "internalConnect", pids...)), counts{}
	for _, o := range owned(m.Openers, pids...) {
		if o.Role == kernel.RoleClient && o.Stack != recording.StackWhole && o.Why != "" && !strings.Contains(strings.Join(o.Frames, " "), "internalConnect") {
			unread.add(o)
		}
	}
	both := counts{got.opened + unread.opened, got.closed + unread.closed, got.failed + unread.failed, got.live + unread.live}
	if both != all || got.opened < all.opened/2 {
		t.Errorf("internalConnect has %+v, and %+v are without a stack, want %+v together", got, unread, all)
	}
}

// A process that runs already is watched from then on.
func TestALeakIsFoundInAProcessThatRuns(t *testing.T) {
	p := programs[0]
	s := newServer(t, here).serve(silent)
	args := p.arguments(t, s)
	target := start(t, exec.Command(args[0], args[1:]...), (*exec.Cmd).Start)
	target.says(t, "ready")
	r := recordOf(t, pidFlag(target.pid())...)
	target.tell(t)
	target.says(t, "done")
	s.saw(t, all.opened, all.closed)
	m := r.ends(t)
	if got := total(m.Record); got != all {
		t.Errorf("%+v in all, want %+v", got, all)
	}
	if m.Record.Command != nil || m.Record.Before != 0 || m.Record.Unseen != 0 || m.Record.Vanished != 0 {
		t.Errorf("%+v", m.Record)
	}
	p.byName(t, m, []int{target.pid()})
}

// What was open before the record began is a row of its own, without code. What others closed meanwhile is not in it.
func TestWhatWasOpenBeforeHasNoCode(t *testing.T) {
	const others = 10
	p := programs[0]
	s, elsewhere := newServer(t, here).serve(silent), newServer(t, here).serve(silent)
	args := p.arguments(t, s)
	target := start(t, exec.Command(args[0], args[1:]...), (*exec.Cmd).Start)
	target.tell(t)
	target.says(t, "done")
	s.saw(t, all.opened, all.closed)
	closeOthers := connections(t, elsewhere, others)
	r := recordOf(t, pidFlag(target.pid())...)
	closeOthers()
	elsewhere.saw(t, others, others)
	m := r.ends(t)
	if got := total(m.Record); got != (counts{}) {
		t.Errorf("%+v since the record began", got)
	}
	var before counts
	for _, o := range m.Openers {
		if o.Kind == recording.OpenerBefore && len(o.Frames) == 0 {
			before.add(o)
		}
	}
	if before != (counts{live: all.live}) || m.Record.Before != all.live || m.Record.BeforeClosed != 0 {
		t.Errorf("the row has %+v, the record %d, %d of them closed", before, m.Record.Before, m.Record.BeforeClosed)
	}
}

// connections opens some of this process's own, and gives what closes them.
func connections(t *testing.T, to *server, n int) (closeAll func()) {
	t.Helper()
	var list []net.Conn
	for range n {
		c, err := net.Dial("tcp", to.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	closeAll = sync.OnceFunc(func() {
		for _, c := range list {
			c.Close()
		}
	})
	t.Cleanup(closeAll)
	return closeAll
}

// A command that ends ends the record. What it left open is told, before the kernel closes it.
func TestARecordEndsWithItsCommand(t *testing.T) {
	p := programs[0]
	s := newServer(t, here).serve(silent)
	r := newRecord(t, append([]string{"--duration", forever, "--"}, p.arguments(t, s)...)...)
	r.tell(t)
	r.says(t, "done")
	r.stdin.Close()
	r.exits(t, exitDone)
	m := r.read(t)
	if got := total(m.Record); got != all || m.Record.CommandStatus != "exit status 0" {
		t.Errorf("%+v, want %+v; the command ended with %q", got, all, m.Record.CommandStatus)
	}
	if list := clients(m); len(list) != paths {
		t.Errorf("%d openers", len(list))
	} else {
		p.byName(t, m, []int{list[0].PID})
	}
}

func TestOneOfTwoIsRecordedAlone(t *testing.T) {
	one, other := statics[0], statics[1]
	t.Run("by process, of one program", func(t *testing.T) {
		oneOfTwo(t, one, one, func(c *child) []string { return pidFlag(c.pid()) })
	})
	t.Run("by process, of two programs", func(t *testing.T) {
		oneOfTwo(t, one, other, func(c *child) []string { return pidFlag(c.pid()) })
	})
	t.Run("by name", func(t *testing.T) {
		oneOfTwo(t, one, other, func(c *child) []string { return []string{"--comm", filepath.Base(c.cmd.Path)} })
	})
}

// oneOfTwo records a program while another one does the same, both with a server of the test's.
func oneOfTwo(t *testing.T, one, other leaky, flags func(*child) []string) {
	t.Helper()
	var s [2]*server
	var c [2]*child
	for i, p := range []leaky{one, other} {
		s[i] = newServer(t, here).serve(silent)
		args := p.arguments(t, s[i])
		c[i] = start(t, exec.Command(args[0], args[1:]...), (*exec.Cmd).Start)
		c[i].says(t, "ready")
	}
	r := recordOf(t, flags(c[0])...)
	for i := range c {
		c[i].tell(t)
	}
	for i := range c {
		c[i].says(t, "done")
		s[i].saw(t, all.opened, all.closed)
	}
	m := r.ends(t)
	if got := total(m.Record); got != all {
		t.Errorf("%+v in all, want %+v", got, all)
	}
	line := m.Record.Timeline
	if last := line[len(line)-1]; last.Opened != all.opened || last.Closed != all.closed {
		t.Errorf("the timeline ends with %+v", last)
	}
	one.byName(t, m, []int{c[0].pid()})
}
