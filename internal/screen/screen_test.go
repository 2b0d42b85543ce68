package screen

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
	"github.com/connprof/connprof/internal/top"
)

var update = flag.Bool("update", false, "write the screens below testdata anew")

// madeUp is a host that looks as the samples do: each look is a second after the last one, and leaky goes on leaking.
type madeUp struct {
	ticks  *top.Ticker
	asks   []Ask
	looks  int
	rests  int
	err    error
	wrote  *recording.Machine
	counts top.Counts
}

func (h *madeUp) Look(a Ask) (*top.Tick, error) {
	if h.err != nil {
		return nil, h.err
	}
	if h.ticks == nil || len(h.asks) > 0 && !slices.Equal(a.By, h.asks[len(h.asks)-1].By) {
		h.ticks = top.NewTicker(a.By, a.Sort)
	}
	h.asks = append(h.asks[max(0, len(h.asks)-9):], a)
	h.looks++
	m := sample.Live().Machines[0]
	for i := range m.Groups {
		if g := &m.Groups[i]; g.Comm == "leaky" && g.State == "CLOSE_WAIT" {
			g.Count += 10 * h.looks
		}
	}
	m.Books.Pages.Kernel += int64(h.looks)
	m.Cost.CPUSeconds = 0.118
	if a.Of == nil {
		m.Top = nil
	} else {
		m.Top = slices.DeleteFunc(m.Top, func(e recording.TopEndpoint) bool {
			at := slices.IndexFunc(m.Groups, func(g recording.Group) bool { return g.PID == e.PID && g.State == e.State })
			return at < 0 || !a.Of(&m.Groups[at])
		})
	}
	var counts *top.Counts
	if a.Count {
		h.counts.Elapsed += time.Second
		h.counts.Opened += 42
		h.counts.Closed += 32
		c := h.counts
		c.Processes = map[int]top.ProcessCount{7301: {Opened: 10 * uint64(h.looks)}}
		counts = &c
	}
	t, err := h.ticks.Tick(m, counts)
	if err == nil {
		t.Time = time.Date(2026, 12, 1, 9, 0, h.looks, 0, time.Local)
		t.Available = 8 << 30
	}
	return t, err
}

func (h *madeUp) Pause() time.Duration { return time.Nanosecond }

func (h *madeUp) Rest() error {
	h.rests++
	return nil
}

func (h *madeUp) Write(m *recording.Machine) (string, error) {
	h.wrote = m
	return "connprof-20261201-090000.json", h.err
}

// stage plays a model without a terminal.
type stage struct {
	t    *testing.T
	m    Model
	host *madeUp
	quit bool
}

// newStage is a screen of a size after so many looks.
func newStage(t *testing.T, width, height, looks int, o Options) *stage {
	t.Helper()
	s := &stage{t: t, host: &madeUp{}}
	if o.Name == "" {
		o.Name = "web-1"
	}
	o.Sort = "bytes"
	s.m = New(s.host, o)
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	s.do(s.m.look())
	for range looks - 1 {
		s.again()
	}
	return s
}

// again has the pause pass, and takes the look that comes then.
func (s *stage) again() { s.send(timerMsg(s.m.timer)) }

func (s *stage) send(msg tea.Msg) {
	next, cmd := s.m.Update(msg)
	s.m = next.(Model)
	s.do(cmd)
}

// do does what a message has asked for; timers it leaves to again.
func (s *stage) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case tea.QuitMsg:
		s.quit = true
	case lookMsg, wroteMsg, restedMsg:
		s.send(msg)
	}
}

func (s *stage) keys(keys ...string) {
	for _, k := range keys {
		s.send(keyOf(k))
	}
}

func keyOf(name string) tea.KeyPressMsg {
	for code, named := range map[rune]string{tea.KeyEnter: "enter", tea.KeyEscape: "esc", tea.KeyTab: "tab", tea.KeyUp: "up", tea.KeyDown: "down",
		tea.KeySpace: "space", tea.KeyEnd: "end", tea.KeyHome: "home", tea.KeyPgDown: "pgdown", tea.KeyBackspace: "backspace"} {
		if named == name {
			return tea.KeyPressMsg{Code: code}
		}
	}
	if name == "ctrl+c" {
		return tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// text is the screen without colours. No line is wider than it, and there are no more than it is high.
func (s *stage) text() string {
	s.t.Helper()
	content := s.m.View().Content
	lines := strings.Split(ansi.Strip(content), "\n")
	if len(lines) > s.m.height {
		s.t.Errorf("%d lines on a screen of %d", len(lines), s.m.height)
	}
	for i, line := range lines {
		if format.Columns(line) > s.m.width {
			s.t.Errorf("line %d is %d columns wide on a screen of %d: %q", i, format.Columns(line), s.m.width, line)
		}
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *stage) has(parts ...string) {
	s.t.Helper()
	text := s.text()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			s.t.Errorf("no %q in\n%s", p, text)
		}
	}
}

func (s *stage) golden(name string) {
	s.t.Helper()
	got, file := s.text(), filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		s.t.Errorf("%s: %v; go test ./internal/screen -update writes it anew:\n%s", name, err, got)
	}
}

func TestScreensAtThreeSizes(t *testing.T) {
	for _, size := range [][3]int{{60, 12, 3}, {80, 24, 12}, {132, 40, 40}} {
		s := newStage(t, size[0], size[1], size[2], Options{})
		at := func(name string) string { return fmt.Sprintf("%s-%dx%d", name, size[0], size[1]) }
		s.golden(at("owners"))
		s.keys("enter")
		s.golden(at("states"))
		s.keys("enter")
		s.again()
		s.golden(at("sockets"))
		s.keys("enter")
		s.golden(at("socket"))
		s.keys("G")
		s.has("1 tcp_sock")
		s.keys("?")
		s.golden(at("help"))
	}
}

// markedLine is the line of the cursor.
func markedLine(s *stage) string {
	for line := range strings.Lines(s.text()) {
		if strings.HasPrefix(line, ">") {
			return line
		}
	}
	return ""
}

func TestATerminalThatIsTooSmallIsTold(t *testing.T) {
	for _, size := range [][2]int{{59, 24}, {80, 9}, {20, 5}, {1, 1}} {
		s := newStage(t, size[0], size[1], 2, Options{})
		if text := s.text(); size[0] > 19 && !strings.Contains(strings.ReplaceAll(text, "\n", " "), "needs 60 columns") {
			t.Errorf("%v: %q", size, text)
		}
		s.keys("q")
		if !s.quit {
			t.Errorf("%v: q does not end it", size)
		}
	}
}

func TestKeysGoDownAndUp(t *testing.T) {
	s := newStage(t, 80, 24, 3, Options{})
	first := markedLine(s)
	s.keys("down")
	second := markedLine(s)
	s.keys("k")
	if first == second || markedLine(s) != first {
		t.Errorf("the cursor went from %q to %q", first, second)
	}
	s.keys("end")
	last := markedLine(s)
	s.keys("j", "pgdown")
	if markedLine(s) != last || last == first {
		t.Errorf("the cursor went beyond the last row: %q", markedLine(s))
	}
	s.keys("g", "enter")
	s.has("state", "> ")
	s.keys("esc", "esc", "h")
	if markedLine(s) != first || len(s.m.path) != 1 {
		t.Errorf("esc has led to %q", markedLine(s))
	}
	// A look that brings another order leaves the cursor where it was.
	s.keys("down")
	name := strings.Fields(markedLine(s))[0]
	s.again()
	if !strings.HasPrefix(markedLine(s), name) {
		t.Errorf("the cursor went from %s to %q", name, markedLine(s))
	}
}

func TestTabDividesAndSSorts(t *testing.T) {
	s := newStage(t, 132, 40, 3, Options{})
	for _, by := range []string{"container", "listener", "service", "state", "process"} {
		s.keys("tab")
		s.has("by " + by + ", sorted by bytes")
		s.again()
		if got := s.host.asks[len(s.host.asks)-1].By; got[0] != by {
			t.Errorf("the look is divided by %v, want %s", got, by)
		}
	}
	for _, order := range top.Orders()[1:] {
		s.keys("s")
		s.has("sorted by " + order)
	}
	s.keys("s")
	s.has("sorted by bytes")
	other := newStage(t, 80, 24, 1, Options{By: []string{"uid", "state"}})
	other.has("by uid, state")
	// A look divided by peer has no listeners: they come with the next one.
	other = newStage(t, 80, 24, 1, Options{By: []string{"peer"}})
	other.m.tick.Machine.Look.By = []string{"peer"}
	other.keys("tab", "tab", "tab")
	if text := other.text(); !strings.Contains(text, "by listener") || strings.Contains(text, "no listener") {
		t.Errorf("a look by peer is divided by listener:\n%s", text)
	}
}

func TestAFilterChooses(t *testing.T) {
	s := newStage(t, 80, 24, 2, Options{})
	s.keys("/")
	for _, key := range `comm == "x` {
		s.keys(string(key))
	}
	s.keys("enter")
	if !s.m.typing || !strings.Contains(s.text(), "column") {
		t.Errorf("an expression that is none is taken:\n%s", s.text())
	}
	s.keys(`"`)
	s.keys("enter")
	if text := s.text(); !strings.Contains(text, "Looking") || strings.Contains(text, "ESTABLISHED") {
		t.Errorf("figures of all sockets stand below the filter:\n%s", text)
	}
	s.again()
	if s.m.typing || s.host.asks[len(s.host.asks)-1].Filter == nil {
		t.Errorf("the filter is not asked for:\n%s", s.text())
	}
	s.has(`filter comm == "x"`)
	s.keys("/", "esc")
	if s.m.filter == nil {
		t.Error("esc has taken the filter away")
	}
	s.keys("/")
	s.m.input.SetValue("")
	s.keys("enter")
	s.again()
	if s.host.asks[len(s.host.asks)-1].Filter != nil {
		t.Error("an empty expression does not take all")
	}
}

func TestFrozenLooksNoMore(t *testing.T) {
	s := newStage(t, 80, 24, 2, Options{})
	s.keys("space")
	looks := s.host.looks
	s.again()
	s.has("FROZEN")
	if s.host.looks != looks || s.host.rests != 1 {
		t.Errorf("%d looks while frozen, detached %d times", s.host.looks-looks, s.host.rests)
	}
	s.keys("space")
	if s.host.looks != looks+1 {
		t.Errorf("%d looks after it", s.host.looks-looks)
	}
}

func TestOpensAreCountedOnlyWhereTheyAreShown(t *testing.T) {
	for _, c := range []struct {
		height int
		down   int
		counts bool
	}{{24, 0, true}, {24, 2, true}, {12, 0, true}, {12, 1, false}} {
		s := newStage(t, 80, c.height, 2, Options{})
		for range c.down {
			s.keys("enter")
		}
		s.again()
		if got := s.host.asks[len(s.host.asks)-1].Count; got != c.counts {
			t.Errorf("%+v: counted %v", c, got)
		}
	}
}

func TestWIsARecordingOfWhatIsShown(t *testing.T) {
	s := newStage(t, 80, 24, 2, Options{})
	s.keys("w")
	s.has("wrote connprof-20261201-090000.json")
	if s.host.wrote != s.m.tick.Machine {
		t.Error("another look was written")
	}
	s.host.err = errors.New("write it: the disk is full")
	s.keys("w")
	s.has("the disk is full")
}

func TestTheMouseMarksAndEnters(t *testing.T) {
	s := newStage(t, 80, 24, 2, Options{})
	row := slices.IndexFunc(strings.Split(s.text(), "\n"), func(line string) bool { return strings.Contains(line, "leaky") })
	for range 2 {
		s.send(tea.MouseClickMsg{X: 5, Y: row, Button: tea.MouseLeft})
	}
	s.has("> leaky")
	s.keys("esc")
	s.send(tea.MouseWheelMsg{Button: tea.MouseWheelDown})
	if strings.Contains(markedLine(s), "leaky") {
		t.Error("the wheel moves nothing")
	}
	for y := range 30 { // nowhere does it break
		s.send(tea.MouseClickMsg{X: 1, Y: y, Button: tea.MouseRight})
	}
	s.send(tea.MouseClickMsg{X: 1, Y: 23, Button: tea.MouseLeft})
	s.send(tea.MouseClickMsg{X: 1, Y: 0, Button: tea.MouseLeft})
}

func TestTheEndsOfAScreen(t *testing.T) {
	for name, end := range map[string]func(*stage){
		"q":           func(s *stage) { s.keys("q") },
		"Ctrl-C":      func(s *stage) { s.keys("ctrl+c") },
		"in a filter": func(s *stage) { s.keys("/", "ctrl+c") },
		"in the help": func(s *stage) { s.keys("?", "q") },
		"a signal":    func(s *stage) { s.send(stopMsg{}) },
		"an error":    func(s *stage) { s.host.err = errors.New("no"); s.again() },
	} {
		s := newStage(t, 80, 24, 2, Options{})
		if end(s); !s.quit {
			t.Errorf("%s does not end it", name)
		}
		if (s.m.err != nil) != (name == "an error") {
			t.Errorf("%s: %v", name, s.m.err)
		}
	}
}

// What is lost does not hide that memory will be short, nor the other way round.
func TestAllThatShouldBeKnownFirstIsSaid(t *testing.T) {
	s := newStage(t, 132, 40, 40, Options{})
	s.has("at this growth tcp_mem is full in 6 d")
	s.m.tick.Losses = 3
	s.has("at this growth tcp_mem is full in 6 d; 3 events or sockets were lost")
	s.m.tick.Pages = s.m.tick.Limits[1] + 1
	s.has("tcp_mem is above its second limit", "3 events or sockets were lost")
}

func TestSteadyGrowthIsForetold(t *testing.T) {
	begun := time.Now()
	grown := func(n int, v func(int) float64) (h history) {
		for i := range n {
			h.add(begun.Add(time.Duration(3*i)*time.Second), v(i))
		}
		return h
	}
	line := func(i int) float64 { return 1000 + 30*float64(i) }
	h := grown(20, line)
	if in, is := h.full(1570 + 3600*10); !is || in.Round(time.Second) != time.Hour {
		t.Errorf("10 a second, 36,000 to go: full in %v, %v", in, is)
	}
	for name, h := range map[string]history{
		"flat":    grown(50, func(int) float64 { return 5 }),
		"falls":   grown(50, func(i int) float64 { return -line(i) }),
		"wavers":  grown(50, func(i int) float64 { return float64(i + 400*(i%2)) }),
		"young":   grown(5, line),
		"slow":    grown(50, func(i int) float64 { return 1e-4 * float64(i) }),
		"nothing": {},
	} {
		if in, is := h.full(100_000); is {
			t.Errorf("%s: full in %v", name, in)
		}
	}
	if in, is := h.full(10); !is || in != 0 {
		t.Errorf("above the limit: full in %v, %v", in, is)
	}
	flat := grown(3, func(int) float64 { return 7 })
	if got := flat.line(5); got != "▁▁▁" {
		t.Errorf("%q", got)
	}
	if got := h.line(5); got != "▁▃▅▆█" && len([]rune(got)) != 5 {
		t.Errorf("%q", got)
	}
}

// A day is 43,200 looks, one in two seconds. A model that kept them would grow.
func TestAModelOfManyLooksStaysSmall(t *testing.T) {
	s := newStage(t, 80, 24, 200, Options{})
	tick, ask := s.m.tick, s.m.asked
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	for i := range 100_000 {
		next := *tick
		next.Time, next.Sockets = tick.Time.Add(time.Duration(i)*time.Second), i%977
		m, _ := s.m.Update(lookMsg{tick: &next, ask: ask})
		s.m = m.(Model)
		if i%10_000 == 0 {
			s.text()
		}
	}
	if after := used(); after > before+1<<20 {
		t.Errorf("100,000 looks have made %d bytes of %d", after, before)
	}
}

// Keys in any order, and looks between them, never break it.
func FuzzKeys(f *testing.F) {
	f.Add("jjj\rq", uint8(80), uint8(24))
	f.Add("\t\ts\r\r\r /comm\r", uint8(60), uint8(10))
	f.Add("?w\x1b\x1bg", uint8(200), uint8(60))
	names := map[rune]string{'\r': "enter", '\t': "tab", '\x1b': "esc", ' ': "space", '\b': "backspace"}
	f.Fuzz(func(t *testing.T, keys string, width, height uint8) {
		if len(keys) > 60 {
			return
		}
		s := newStage(t, int(width), int(height), 1, Options{})
		for i, k := range keys {
			name, named := names[k]
			if !named {
				name = string(k)
			}
			s.keys(name)
			if i%3 == 0 {
				s.again()
			}
			s.text()
		}
	})
}
