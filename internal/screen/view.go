package screen

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/top"
)

// Bounds on terminals. Below lowHead lines the head is short.
const (
	leastWidth  = 60
	leastHeight = 10
	lowHead     = 18
)

var (
	bold   = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	marked = lipgloss.NewStyle().Reverse(true)
	warns  = lipgloss.NewStyle().Foreground(lipgloss.Yellow).Bold(true)
)

// View draws the screen.
func (m Model) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	v.WindowTitle = "connprof top"
	return v
}

// lines are the screen's, as many as it is high at most.
func (m *Model) lines() []string {
	if m.width < leastWidth || m.height < leastHeight {
		return m.tooSmall()
	}
	if m.help {
		return m.cut(helpLines, m.height)
	}
	lines := m.head()
	lines = append(lines, m.body(m.height-len(lines)-1)...)
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	return append(lines, m.footer())
}

func (m *Model) tooSmall() []string {
	text := fmt.Sprintf("connprof top needs %d columns and %d lines; this terminal has %d and %d. Make it larger, or take --once. q ends it.",
		leastWidth, leastHeight, m.width, m.height)
	return m.cut(strings.Split(lipgloss.Wrap(text, max(m.width, 1), " "), "\n"), m.height)
}

// cut fits lines into the screen.
func (m *Model) cut(lines []string, most int) []string {
	out := make([]string, 0, len(lines))
	for _, line := range lines[:min(len(lines), max(most, 0))] {
		out = append(out, format.Shorten(line, m.width))
	}
	return out
}

// short tells whether there are too few lines for the whole head.
func (m *Model) short() bool { return m.height < lowHead }

// rates tells whether what is shown needs opens and closes counted.
func (m *Model) rates() bool { return !m.short() || m.here().kind == owners }

func (m *Model) headHeight() int {
	if m.short() {
		return 2
	}
	return 6
}

// head is the gauges.
func (m *Model) head() []string {
	title := "connprof top  " + m.options.Name
	if m.tick != nil {
		title += m.tick.Time.Local().Format("  " + time.TimeOnly)
	}
	title += "  " + m.where()
	lines := []string{bold.Render(m.fit(title))}
	if m.frozen {
		lines[0] = warns.Render(m.fit("FROZEN  " + title))
	}
	if m.tick == nil {
		return append(lines, m.filled([]string{m.waiting()})...)
	}
	t := m.tick
	counts := m.gauge("sockets", format.Count(t.Sockets), &m.sockets) + "  " + top.List(t.States)
	if m.short() {
		return append(lines, m.fit(counts))
	}
	slab := m.gauge("slab", format.Size(float64(t.Slab)), &m.slab) + fmt.Sprintf("  %s of Slab", format.Percent(float64(t.Slab), float64(t.HostSlab)))
	buffers := m.gauge("buffers", format.Size(float64(t.Buffers)), &m.buffers)
	pages := fmt.Sprintf("%-8s %s  %s of %s, %s, %s pages", "tcp_mem", meter(t.Pages, t.Limits[2], barWidth+10), format.Count(t.Pages),
		format.Count(t.Limits[0]), format.Count(t.Limits[1]), format.Count(t.Limits[2]))
	rates := m.gauge("opens/s", rate(t.Opens), &m.opens) + "  " + m.gauge("closes/s", rate(t.Closes), &m.closes)
	rates += fmt.Sprintf("  accept queues %s", format.Count(t.Queued))
	if t.Full > 0 {
		rates += fmt.Sprintf(", %s full", format.Count(t.Full))
	}
	lines = append(lines, m.fit(counts), m.fit(slab+"  "+buffers), m.fit(pages), m.fit(rates))
	return append(lines, m.warning())
}

// filled is lines, and empty ones as far as the head goes.
func (m *Model) filled(lines []string) []string {
	for len(lines) < m.headHeight()-1 {
		lines = append(lines, "")
	}
	return lines
}

// barWidth is the columns of a history.
const barWidth = 10

// gauge is a figure with its history. Its width is the same whatever the figure is.
func (m *Model) gauge(name, value string, h *history) string {
	line := h.line(barWidth)
	return fmt.Sprintf("%-8s %9s %s%s", name, value, line, strings.Repeat(" ", barWidth-len([]rune(line))))
}

// meter is how much of a limit is taken.
func meter(n, limit int64, width int) string {
	full := 0
	if limit > 0 {
		full = int(min(max(n*int64(width)/limit, 0), int64(width)))
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// warning is what should be known first: that memory is short, or will be, and that figures are too low.
func (m *Model) warning() string {
	t := m.tick
	var parts []string
	if t.Limits[1] > 0 && t.Pages > t.Limits[1] {
		parts = append(parts, "tcp_mem is above its second limit: the kernel shrinks the sockets' buffers")
	} else if what, in := m.fullFirst(); what != "" {
		parts = append(parts, fmt.Sprintf("at this growth %s is full in %s", what, format.Span(in.Seconds())))
	}
	if t.Losses > 0 {
		parts = append(parts, format.Plural(int(t.Losses), "event or socket was", "events or sockets were")+" lost: the figures are too low")
	}
	if len(parts) == 0 {
		return ""
	}
	return warns.Render(m.fit(strings.Join(parts, "; ")))
}

// fullFirst is what is full first if it goes on to grow as steadily as it does, and when; empty where nothing does.
func (m *Model) fullFirst() (what string, in time.Duration) {
	t := m.tick
	if t.Limits[2] > 0 {
		if at, grows := m.pages.full(float64(t.Limits[2])); grows {
			what, in = "tcp_mem", at
		}
	}
	if t.Available > 0 {
		if at, grows := m.memory.full(float64(t.Slab) + float64(t.Buffers) + float64(t.Available)); grows && (what == "" || at < in) {
			what, in = "memory", at
		}
	}
	return what, in
}

// where is where one is.
func (m *Model) where() string {
	by := "by " + strings.Join(m.by(), ", ")
	if len(m.path) == 1 {
		by += ", sorted by " + m.sort
	}
	parts := []string{by}
	for _, l := range m.path[1:] {
		switch l.kind {
		case states:
			parts = append(parts, l.name)
		case sockets:
			parts = append(parts, l.state)
		case socket:
			parts = append(parts, "socket")
		}
	}
	text := strings.Join(parts, " > ")
	if m.filter != nil {
		text += "  filter " + m.filter.String()
	}
	return text
}

// slowPause is a time after which one wonders what it waits for.
const slowPause = 4 * time.Second

func (m *Model) waiting() string {
	if m.frozen {
		return "Frozen: space goes on, and lists them."
	}
	if m.pause > slowPause {
		return fmt.Sprintf("Looking: looks come every %s here, so that they take no more than a tenth of a processor.", format.Span(m.pause.Seconds()))
	}
	return "Looking..."
}

// rowsShown is how many rows of the table there is place for.
func (m *Model) rowsShown() int { return max(m.height-m.headHeight()-2, 1) }

// body is the table, or the socket.
func (m *Model) body(most int) []string {
	l := m.here()
	if l.kind == socket {
		details := m.details(l)
		return m.cut(details[min(l.first, len(details)-1):], most)
	}
	columns := m.columns()
	shown := fitting(columns, m.width)
	lines := []string{bold.Render(m.drawHeader(columns, shown))}
	rows := m.rows()
	if len(rows) == 0 {
		return append(lines, m.empty(l))
	}
	at := m.marked(m.ids())
	for i := l.first; i < len(rows) && len(lines) < most; i++ {
		line := m.drawRow(&rows[i], columns, shown, i == at)
		switch {
		case i == at:
			line = marked.Render(line)
		case rows[i].grows:
			line = warns.Render(line)
		}
		lines = append(lines, line)
	}
	return lines
}

// empty is what to say of a table without rows.
func (m *Model) empty(l *level) string {
	switch {
	case m.tick == nil || l.kind == sockets && !m.listed():
		return m.waiting()
	case l.kind == owners && m.filter != nil:
		return "No socket is chosen. Press / to change the filter."
	}
	return "None is left."
}

// fitting chooses the columns that fit a width, by their place in the table.
func fitting(columns []column, width int) []int {
	total := markWidth
	for _, c := range columns {
		total += c.width + 1
	}
	gone := map[int]bool{}
	for total > width {
		last := 0
		for i, c := range columns {
			if !gone[i] && c.order > columns[last].order {
				last = i
			}
		}
		if columns[last].order == 0 {
			break
		}
		gone[last] = true
		total -= columns[last].width + 1
	}
	var shown []int
	for i := range columns {
		if !gone[i] {
			shown = append(shown, i)
		}
	}
	return shown
}

// markWidth is the columns of the marks before a row: the cursor, and whether it grows.
const markWidth = 2

// nameWidth is what the first column has.
func (m *Model) nameWidth(columns []column, shown []int) int {
	width := m.width - markWidth
	for _, i := range shown[1:] {
		width -= columns[i].width + 1
	}
	return max(width, 1)
}

func (m *Model) drawHeader(columns []column, shown []int) string {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", markWidth))
	b.WriteString(padded(columns[0].title, m.nameWidth(columns, shown)))
	for _, i := range shown[1:] {
		c := columns[i]
		title := c.title
		if c.sort == m.sort && m.here().kind == owners {
			title = "▾" + title
		}
		b.WriteString(" " + leading(title, c.width))
	}
	return b.String()
}

func (m *Model) drawRow(r *row, columns []column, shown []int, here bool) string {
	var b strings.Builder
	mark := [2]string{" ", " "}
	if here {
		mark[0] = ">"
	}
	if r.grows {
		mark[1] = "▲"
	}
	b.WriteString(mark[0] + mark[1])
	b.WriteString(padded(r.cells[0], m.nameWidth(columns, shown)))
	for _, i := range shown[1:] {
		b.WriteString(" " + leading(r.cells[i], columns[i].width))
	}
	return b.String()
}

// fit makes a line as wide as the screen.
func (m *Model) fit(line string) string { return padded(line, m.width) }

func padded(s string, width int) string {
	s = format.Shorten(s, width)
	return s + strings.Repeat(" ", max(width-format.Columns(s), 0))
}

func leading(s string, width int) string {
	s = format.Shorten(s, width)
	return strings.Repeat(" ", max(width-format.Columns(s), 0)) + s
}

// footer is the keys of where one is, and what connprof takes itself.
func (m *Model) footer() string {
	if m.typing {
		if m.complaint != "" {
			return warns.Render(format.Shorten(m.complaint, m.width))
		}
		return m.input.View()
	}
	own := ""
	if m.tick != nil {
		own = fmt.Sprintf("  %s a look, %s", format.Seconds(m.tick.LookCPU), format.Size(float64(m.tick.RSS)))
	}
	width := m.width - format.Columns(own)
	left := m.message
	if left == "" {
		left = m.keys(width)
	}
	return faint.Render(padded(left, width) + own)
}

// keys are those of where one is, as many as a width has place for.
func (m *Model) keys(width int) string {
	last := "? help"
	list := []string{"esc back", "space freeze"}
	switch m.here().kind {
	case owners:
		list = []string{"enter", "tab group", "s sort", "/ filter", "space freeze", "w write", "q end"}
	case states:
		list = []string{"enter sockets", "esc back", "space freeze", "w write"}
	case sockets:
		list = []string{"enter details", "esc back", "space freeze", "w write"}
	}
	text := ""
	for _, key := range list {
		if format.Columns(text+key+"  "+last) > width {
			break
		}
		text += key + "  "
	}
	return text + last
}

var helpLines = []string{
	"connprof top: whose connections hold the kernel's memory",
	"",
	"up down j k  move               g G  first and last        pgup pgdn  a page",
	"enter        go into what is marked: owner, states, sockets, one socket",
	"esc          go back",
	"tab          divide by process, container, listener, service, state",
	"s            sort by the next column",
	"/            choose sockets by an expression, as --filter; an empty one takes all",
	"space        freeze, and go on",
	"w            write a recording of what is shown; connprof report reads it",
	"q            end",
	"",
	"A row with ▲ has grown in the last looks. change is since the first look that",
	"was divided so. An owner's opens/s and closes/s are those of its processes that",
	"have sockets now; those of the head are the whole host's.",
	"The lists of sockets have the 100 costliest.",
	"",
	"any key      back",
}
