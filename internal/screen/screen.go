// Package screen is what connprof top shows on a terminal: a head of gauges, a table to walk down into, and keys. It knows no kernel:
// what it shows comes from a Host.
package screen

import (
	"context"
	"slices"
	"time"

	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/connprof/connprof/internal/filter"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/top"
)

// Ask is what the next look is asked for.
type Ask struct {
	By     []string
	Sort   string
	Filter *filter.Filter // nil: all sockets
	// Count has opens and closes counted.
	Count bool
	// Of chooses the groups whose costliest sockets are listed; nil: all. Whose is the same for the same choice.
	Of    func(*recording.Group) bool
	Whose string
}

// Host is what is looked at. Look is called by one goroutine at a time.
type Host interface {
	Look(Ask) (*top.Tick, error)
	// Pause is how long to wait before the next look.
	Pause() time.Duration
	// Rest takes off what only counting needs, until a look asks for it again.
	Rest() error
	// Write writes a look into a new file and says which.
	Write(*recording.Machine) (name string, err error)
}

// Options is how the screen begins.
type Options struct {
	By     []string // a grouping beyond the usual ones
	Sort   string
	Filter *filter.Filter
	Name   string // of the host
	// Stop ends it.
	Stop <-chan struct{}
}

// groupings are what tab goes through.
var groupings = []string{"process", "container", "listener", "service", "state"}

// Model is the screen's state. Messages change it; it looks at nothing itself.
type Model struct {
	host      Host
	options   Options
	groupings [][]string
	grouping  int
	sort      string
	filter    *filter.Filter
	input     textinput.Model
	typing    bool
	complaint string // about the expression that is being typed
	message   string // what happened last
	help      bool
	frozen    bool
	looking   bool
	width     int
	height    int
	tick      *top.Tick
	asked     Ask // of tick
	err       error
	// path is where one is: the owners first, then what was entered.
	path    []level
	sockets history
	slab    history
	buffers history
	opens   history
	closes  history
	pages   history
	memory  history // slab and buffers together
	timer   int     // the number of the timer that counts; those before it are of no account
	pause   time.Duration
	passed  bool // the pause after the last look is over
}

// kind is what a level of the path lists.
type kind int

const (
	owners  kind = iota
	states       // of one owner
	sockets      // of one owner in one state
	socket       // one of them
)

// level is one step of the path.
type level struct {
	kind   kind
	id     string // of the owner
	name   string
	state  string
	cursor string // what is marked: an owner's ID, a state, or a socket
	first  int    // the row at the top
	at     string // the socket
}

// New makes a screen. Its Init takes the first look.
func New(host Host, o Options) Model {
	m := Model{host: host, options: o, sort: o.Sort, filter: o.Filter, path: []level{{kind: owners}}, input: textinput.New(), width: 80, height: 24, looking: true}
	for _, g := range groupings {
		m.groupings = append(m.groupings, []string{g})
	}
	same := func(by []string) bool { return slices.Equal(by, o.By) }
	if len(o.By) > 0 && !slices.ContainsFunc(m.groupings, same) {
		m.groupings = slices.Insert(m.groupings, 0, o.By)
	}
	m.grouping = max(slices.IndexFunc(m.groupings, same), 0)
	m.input.Prompt, m.input.CharLimit = "filter: ", 4096
	styles := m.input.Styles()
	styles.Cursor.Blink = false
	m.input.SetStyles(styles)
	m.input.KeyMap.Paste.SetEnabled(false) // it would run a program; what the terminal pastes comes in all the same
	return m
}

// Messages.
type (
	lookMsg struct {
		tick *top.Tick
		ask  Ask
		err  error
	}
	timerMsg int
	wroteMsg struct {
		name string
		err  error
	}
	restedMsg struct{ err error }
	stopMsg   struct{}
)

// Init takes the first look.
func (m Model) Init() tea.Cmd {
	first := m.look()
	return tea.Batch(first, func() tea.Msg {
		<-m.options.Stop
		return stopMsg{}
	})
}

// look is a look by what is asked for now. The caller notes that it is under way.
func (m *Model) look() tea.Cmd {
	ask, host := m.ask(), m.host
	return func() tea.Msg {
		tick, err := host.Look(ask)
		return lookMsg{tick, ask, err}
	}
}

// begin takes a look, if none is under way and the pause after the last one is over.
func (m *Model) begin() tea.Cmd {
	if m.looking || !m.passed || m.frozen {
		return nil
	}
	m.looking, m.passed = true, false
	return m.look()
}

func (m *Model) wait() tea.Cmd {
	m.timer++
	n := m.timer
	m.pause = m.host.Pause()
	return tea.Tick(m.pause, func(time.Time) tea.Msg { return timerMsg(n) })
}

// by is the keys that the owners are divided by.
func (m *Model) by() []string { return m.groupings[m.grouping] }

func (m *Model) here() *level { return &m.path[len(m.path)-1] }

// Run shows the screen until it is left or told to stop, and leaves the terminal as it was.
func Run(ctx context.Context, host Host, o Options) error {
	p := tea.NewProgram(New(host, o), tea.WithContext(ctx), tea.WithoutSignalHandler())
	last, err := p.Run()
	if m, is := last.(Model); is && m.err != nil {
		return m.err
	}
	if ctx.Err() != nil { // a second signal
		return nil
	}
	return err
}
