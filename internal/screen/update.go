package screen

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/connprof/connprof/internal/filter"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/top"
)

// Update changes the screen by a message.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.update(msg)
	return m, cmd
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.input.SetWidth(max(msg.Width-len(m.input.Prompt)-1, 1))
		m.follow()
	case stopMsg:
		return tea.Quit
	case lookMsg:
		return m.looked(msg)
	case timerMsg:
		if int(msg) == m.timer {
			m.passed = true
			return m.begin()
		}
	case restedMsg:
		if msg.err != nil {
			m.err = msg.err
			return tea.Quit
		}
	case wroteMsg:
		if m.message = "wrote " + msg.name; msg.err != nil {
			m.message = msg.err.Error()
		}
	case tea.MouseClickMsg:
		return m.click(tea.Mouse(msg))
	case tea.MouseWheelMsg:
		switch msg.Button {
		case tea.MouseWheelUp:
			m.move(-1)
		case tea.MouseWheelDown:
			m.move(1)
		}
	case tea.KeyPressMsg:
		if m.typing {
			return m.typed(msg)
		}
		return m.press(msg.String())
	default:
		if m.typing { // the cursor's own
			var cmd tea.Cmd
			m.input, cmd = m.input.Update(msg)
			return cmd
		}
	}
	return nil
}

// looked takes in a look. One that was asked for something else gives way to another one.
func (m *Model) looked(msg lookMsg) tea.Cmd {
	m.looking = false
	if msg.err != nil {
		m.err = msg.err
		return tea.Quit
	}
	if now := m.ask(); msg.ask.Filter == now.Filter && slices.Equal(msg.ask.By, now.By) {
		m.tick, m.asked = msg.tick, msg.ask
		top.Sort(m.tick.Owners, m.sort)
		m.keep()
	}
	m.follow()
	return m.wait()
}

// keep enters the look's figures into the histories.
func (m *Model) keep() {
	t := m.tick
	m.sockets.add(t.Time, float64(t.Sockets))
	m.slab.add(t.Time, float64(t.Slab))
	m.buffers.add(t.Time, float64(t.Buffers))
	m.memory.add(t.Time, float64(t.Slab)+float64(t.Buffers))
	m.pages.add(t.Time, float64(t.Pages))
	if t.Opens != nil && t.Closes != nil {
		m.opens.add(t.Time, *t.Opens)
		m.closes.add(t.Time, *t.Closes)
	}
}

// ask is what a look is asked for now.
func (m *Model) ask() Ask {
	a := Ask{By: m.by(), Sort: m.sort, Filter: m.filter, Count: m.rates()}
	l := m.here()
	if m.tick == nil || l.kind != sockets && l.kind != socket {
		return a
	}
	of, err := report.Of(m.tick.Machine, m.by(), l.id)
	if err != nil {
		return a
	}
	state := l.state
	a.Of = func(g *recording.Group) bool { return g.State == state && of(g) }
	a.Whose = l.id + " " + state
	return a
}

// press answers a key.
func (m *Model) press(key string) tea.Cmd {
	m.message = ""
	if m.help {
		m.help = false
		if key != "q" && key != "ctrl+c" {
			return nil
		}
	}
	switch key {
	case "q", "ctrl+c":
		return tea.Quit
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-m.rowsShown())
	case "pgdown":
		m.move(m.rowsShown())
	case "home", "g":
		m.move(-1 << 30)
	case "end", "G":
		m.move(1 << 30)
	case "enter", "right", "l":
		return m.enter()
	case "esc", "left", "h", "backspace":
		m.path = m.path[:max(len(m.path)-1, 1)]
	case "tab":
		return m.regroup(1)
	case "shift+tab":
		return m.regroup(-1)
	case "s":
		m.resort()
	case "space":
		return m.freeze()
	case "/":
		m.typing, m.complaint = true, ""
		m.input.SetValue("")
		if m.filter != nil {
			m.input.SetValue(m.filter.String())
			m.input.CursorEnd()
		}
		return m.input.Focus()
	case "w":
		return m.write()
	case "?":
		m.help = true
	}
	return nil
}

// freeze stops looking, or goes on.
func (m *Model) freeze() tea.Cmd {
	m.frozen = !m.frozen
	if !m.frozen {
		return m.begin()
	}
	host := m.host
	return func() tea.Msg { return restedMsg{host.Rest()} }
}

// typed answers a key while an expression is typed.
func (m *Model) typed(msg tea.KeyPressMsg) tea.Cmd {
	switch msg.String() {
	case "ctrl+c":
		return tea.Quit
	case "esc":
		m.typing = false
		m.input.Blur()
		return nil
	case "enter":
		return m.choose(m.input.Value())
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	m.complaint = ""
	return cmd
}

// choose takes the sockets alone that an expression is true of; an empty one takes all.
func (m *Model) choose(source string) tea.Cmd {
	var chosen *filter.Filter
	if source != "" {
		f, err := filter.Compile(source)
		if err != nil {
			m.complaint = err.Error()
			return nil
		}
		chosen = f
	}
	m.typing = false
	m.input.Blur()
	m.filter = chosen
	m.restart()
	return m.begin()
}

// restart forgets what the looks so far have told: it is other sockets that are chosen from now on.
func (m *Model) restart() {
	m.toOwners()
	m.tick = nil
	for _, h := range []*history{&m.sockets, &m.slab, &m.buffers, &m.memory} {
		*h = history{}
	}
}

// regroup divides the owners by other keys. What is there already is divided at once, what only several looks tell comes with the next.
func (m *Model) regroup(by int) tea.Cmd {
	m.grouping = (m.grouping + by + len(m.groupings)) % len(m.groupings)
	m.toOwners()
	if m.tick == nil {
		return m.begin()
	}
	rows, err := report.OwnersAgain(m.tick.Machine, report.Options{By: m.by()})
	if look := (&recording.Recording{Machines: []*recording.Machine{m.tick.Machine}}); err != nil || report.Divides(look, m.by()) != nil {
		m.tick = nil // only the next look can be divided so
		return m.begin()
	}
	m.tick.Owners = nil
	for i := range rows {
		m.tick.Owners = append(m.tick.Owners, top.Owner{OwnerRow: rows[i]})
	}
	top.Sort(m.tick.Owners, m.sort)
	return m.begin()
}

// toOwners goes up to the list of owners, and to its beginning.
func (m *Model) toOwners() { m.path = []level{{kind: owners}} }

// resort sorts the table by the next order.
func (m *Model) resort() {
	orders := top.Orders()
	m.sort = orders[(slices.Index(orders, m.sort)+1)%len(orders)]
	if m.tick != nil {
		top.Sort(m.tick.Owners, m.sort)
	}
	m.follow()
}

// write writes the look that is shown into a file.
func (m *Model) write() tea.Cmd {
	if m.tick == nil {
		return nil
	}
	m.message = "writing..."
	host, machine := m.host, m.tick.Machine
	return func() tea.Msg {
		name, err := host.Write(machine)
		return wroteMsg{name, err}
	}
}

// enter goes down into what is marked.
func (m *Model) enter() tea.Cmd {
	ids := m.ids()
	l := m.here()
	at := m.marked(ids)
	if at < 0 || l.kind == socket {
		return nil
	}
	next := level{kind: l.kind + 1, id: l.id, name: l.name, state: l.state}
	switch l.kind {
	case owners:
		next.id, next.name = ids[at], m.tick.Owners[at].Name()
	case states:
		next.state = ids[at]
	case sockets:
		next.at = ids[at]
	}
	m.path = append(m.path, next)
	return m.begin()
}

// marked is the row of the cursor; where what was marked is gone, the first one that is shown.
func (m *Model) marked(ids []string) int {
	l := m.here()
	at := slices.Index(ids, l.cursor)
	if at < 0 && len(ids) > 0 {
		return min(l.first, len(ids)-1)
	}
	return at
}

// move moves the cursor, or one socket's lines.
func (m *Model) move(by int) {
	if l := m.here(); l.kind == socket {
		most := len(m.details(l)) - (m.height - m.headHeight() - 1)
		l.first = max(min(l.first+by, most), 0)
		return
	}
	ids := m.ids()
	if len(ids) == 0 {
		return
	}
	at := min(max(m.marked(ids)+by, 0), len(ids)-1)
	m.here().cursor = ids[at]
	m.follow()
}

// follow keeps the cursor in sight.
func (m *Model) follow() {
	if m.here().kind == socket {
		return
	}
	ids, shown := m.ids(), m.rowsShown()
	l := m.here()
	at := m.marked(ids)
	l.first = max(min(l.first, at, len(ids)-shown), at-shown+1, 0)
}

// click marks a row, and enters one that is marked.
func (m *Model) click(mouse tea.Mouse) tea.Cmd {
	at := mouse.Y - m.headHeight() - 1 + m.here().first
	ids := m.ids()
	if mouse.Button != tea.MouseLeft || m.typing || m.help || mouse.Y <= m.headHeight() || mouse.Y >= m.height-1 || at >= len(ids) {
		return nil
	}
	if ids[at] == m.here().cursor {
		return m.enter()
	}
	m.here().cursor = ids[at]
	return nil
}
