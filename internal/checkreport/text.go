package checkreport

import (
	"fmt"
	"io"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/terminal"
)

// minWidth is the narrowest terminal that the table keeps to.
const minWidth = 80

// WriteText writes the table for a terminal of so many columns, 80 at least; 0 is the width of other reports.
func WriteText(w io.Writer, c *Document, width int, color bool) error {
	if width <= 0 || width > terminal.Width {
		width = terminal.Width
	}
	p := &page{Writer: terminal.New(w, max(width, minWidth), color)}
	p.Paragraph(terminal.Bold, "Limits on "+c.subject())
	p.Paragraph(terminal.Dim, c.memory())
	p.Line()
	p.limits(c.Limits)
	p.Line()
	p.Paragraph(terminal.Bold, c.holds())
	p.Paragraph(terminal.Normal, c.binding())
	p.Line()
	p.Paragraph(terminal.Dim, "* connprof run is not bound by it: it works in a network namespace and in descriptor tables of its own."+
		c.runHolds())
	p.features(c.Features)
	return p.Flush()
}

// page is a terminal that remembers what it has just said.
type page struct {
	*terminal.Writer
	said string // by the last row, below it
}

// under writes a text below a row.
func (p *page) under(s terminal.Style, text string) {
	if text == "" {
		return
	}
	p.Indented(6, s, text)
}

// underOnce leaves out what the row before has said already.
func (p *page) underOnce(text string) {
	if text != p.said {
		p.under(terminal.Dim, text)
	}
	p.said = text
}

// command writes what is to be copied: it is never broken.
func (p *page) command(text string) {
	if text != "" {
		p.Line("    > ", p.Styled(terminal.Blue, format.Clean(text)))
	}
}

// Columns of the table of limits. The one that says where gets what the others leave.
const (
	checkName = iota
	checkWhere
	checkNow
	checkUsed
	checkNeed
	checkVerdict
)

func (p *page) limits(rows []Limit) {
	tab := terminal.Table{Columns: []terminal.Column{{Title: "limit"}, {Title: "where"}, {Title: "now", Right: true},
		{Title: "in use", Right: true}, {Title: "needed", Right: true}, {Title: "verdict"}}}
	wide := p.Width >= terminal.Width
	for _, r := range rows {
		tab.Add(terminal.Normal.Cell(format.Clean(r.Name)), terminal.Dim.Cell(format.Clean(r.Where)),
			terminal.Normal.Cell(r.now()), terminal.Dim.Cell(r.used()), terminal.Normal.Cell(r.need()),
			r.style().Cell(r.verdict()))
	}
	if !wide {
		tab.Drop(checkUsed)
	}
	p.fit(&tab)
	widths := tab.Widths()
	p.Heads(&tab, widths)
	for i, r := range rows {
		p.Cells(&tab, widths, tab.Rows[i])
		p.below(&r, wide)
	}
}

// fit shortens what says where, from the left: its end tells more.
func (p *page) fit(tab *terminal.Table) {
	left := p.Width
	for i, w := range tab.Widths() {
		left -= 2
		if i != checkWhere {
			left -= w
		}
	}
	for _, row := range tab.Rows {
		row[checkWhere].Text = shortenLeft(row[checkWhere].Text, left)
	}
}

func shortenLeft(s string, limit int) string {
	n := format.Columns(s)
	if n <= limit {
		return s
	}
	return "…" + string([]rune(s)[n-limit+1:])
}

func (p *page) below(r *Limit, wide bool) {
	if !wide && r.Used > 0 {
		p.under(terminal.Dim, r.amount(&r.Used)+" in use")
	}
	p.under(terminal.Dim, r.Note)
	if r.Verdict != "too low" && r.Verdict != "warns" {
		return
	}
	p.under(terminal.Normal, r.Consequence)
	p.command(r.Fix)
	if r.Manual != "" && r.Verdict == "too low" {
		p.underOnce("--fix leaves it: " + r.Manual)
	}
}

func (r *Limit) amount(n *uint64) string {
	switch {
	case n == nil && r.Verdict == "unknown":
		return format.None
	case n == nil:
		return "no limit"
	case r.Unit == "bytes":
		return format.Size(float64(*n))
	}
	return format.Count(*n)
}

func (r *Limit) now() string { return r.amount(r.Now) }

func (r *Limit) used() string {
	if r.Used == 0 {
		return ""
	}
	return r.amount(&r.Used)
}

func (r *Limit) need() string {
	if r.Need == 0 {
		return format.None
	}
	return r.amount(&r.Need)
}

// verdict marks what does not bind connprof run.
func (r *Limit) verdict() string {
	if !r.BindsRun && (r.Verdict == "too low" || r.Verdict == "warns") {
		return r.Verdict + "*"
	}
	return r.Verdict
}

func (r *Limit) style() terminal.Style {
	switch r.Verdict {
	case "ok":
		return terminal.Good
	case "unknown":
		return terminal.Dim
	}
	return terminal.Warning
}

var roleWords = map[kernel.Role]string{kernel.RoleClient: "as client", kernel.RoleServer: "as server",
	kernel.RoleBoth: "with both ends"}

// memory is what one endpoint costs.
func (c *Document) memory() string {
	e := c.EndpointBytes
	if !c.More {
		return fmt.Sprintf("memory of an idle endpoint: client %s, server %s (%s)", format.Size(float64(e.Client)), format.Size(float64(e.Server)),
			e.Source)
	}
	var ends []string
	for _, end := range []struct {
		name  string
		bytes uint64
	}{{"client", e.Client}, {"server", e.Server}} {
		if end.bytes > 0 {
			ends = append(ends, end.name+" "+format.Size(float64(end.bytes)))
		}
	}
	return fmt.Sprintf("memory of an endpoint: %s; queued on a connection: %s (%s)", strings.Join(ends, ", "), format.Size(float64(e.Queued)),
		e.Source)
}

func (c *Document) subject() string {
	one, many := "connection", "connections"
	if c.More {
		one, many = "more "+one, "more "+many
	}
	return fmt.Sprintf("%s %s, from %s to %s", format.Plural(c.Conns, one, many), roleWords[c.Role],
		format.Plural(c.ClientAddresses, "client address", "client addresses"), format.Plural(c.ServerPorts, "server port", "server ports"))
}

// holds is the first of the two sentences: how many.
func (c *Document) holds() string {
	var parts []string
	for _, r := range c.Capacity {
		n := "any number"
		if r.Conns != nil {
			n = format.Count(*r.Conns)
		}
		if c.More {
			n += " more"
		}
		parts = append(parts, n+" "+roleWords[r.Role])
	}
	return fmt.Sprintf("This host can hold, as connections of an ordinary program, %s.", series(parts))
}

// binding is the second: which limit comes first, and which next. Roles that agree are named together.
func (c *Document) binding() string {
	var order []string
	roles := map[string][]string{}
	for _, r := range c.Capacity {
		text := "no limit that is known binds"
		if r.First != "" {
			text = "the first limit to bind is " + r.First
		}
		if r.Next != "" {
			text += fmt.Sprintf(", the next %s (%s)", r.Next, format.Count(*r.NextConns))
		}
		if roles[text] == nil {
			order = append(order, text)
		}
		roles[text] = append(roles[text], roleWords[r.Role])
	}
	var parts []string
	for _, text := range order {
		parts = append(parts, series(roles[text])+" "+text)
	}
	sentence := strings.Join(parts, "; ") + "."
	return strings.ToUpper(sentence[:1]) + sentence[1:]
}

func (c *Document) runHolds() string {
	if c.RunConns == nil {
		return ""
	}
	return fmt.Sprintf(" From %s of its own to %s it can open %s here.", format.Plural(c.RunAddresses, "address", "addresses"),
		format.Plural(c.ServerPorts, "port", "ports"), format.Count(*c.RunConns))
}

// series joins with commas and an and.
func series(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func (p *page) features(list []Feature) {
	p.Section("Kernel features", "")
	tab := terminal.Table{Columns: []terminal.Column{{}, {}}}
	for _, f := range list {
		tab.Add(terminal.Normal.Cell(f.Name), featureStyle(f.State).Cell(f.State))
	}
	widths := tab.Widths()
	used := 2
	for _, w := range widths {
		used += w + 2
	}
	for i, f := range list {
		detail := terminal.Wrap(f.Detail, p.Width-used)
		p.Cells(&terminal.Table{Columns: append(tab.Columns, terminal.Column{})}, append(widths, 0), append(tab.Rows[i], terminal.Dim.Cell(detail[0])))
		for _, more := range detail[1:] {
			p.Line(strings.Repeat(" ", used), p.Styled(terminal.Dim, more))
		}
		p.advice(list, i)
	}
}

// advice says what the absence means and what to do, once for rows that agree.
func (p *page) advice(list []Feature, i int) {
	f := list[i]
	if next := i + 1; f.State == "ok" || next < len(list) && list[next].State == f.State &&
		list[next].Consequence == f.Consequence && list[next].Fix == f.Fix {
		return
	}
	p.under(terminal.Normal, f.Consequence)
	p.under(terminal.Dim, f.Fix)
}

func featureStyle(state string) terminal.Style {
	switch state {
	case "ok":
		return terminal.Good
	case "missing":
		return terminal.Warning
	}
	return terminal.Dim
}
