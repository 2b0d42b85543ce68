package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// CheckSchema names the version of the JSON that CheckJSON writes.
const CheckSchema = "connprof.check/1"

// Check is what connprof check found: the document of --json, and what CheckText renders. A figure that is null is no
// limit, or not known; the verdict says which.
type Check struct {
	Schema          string             `json:"schema"`
	Kernel          string             `json:"kernel"` // uname -r
	Conns           uint64             `json:"conns"`
	Role            string             `json:"role"` // client, server, both: which ends are on this host
	ClientAddresses uint64             `json:"client_addresses"`
	ServerPorts     uint64             `json:"server_ports"`
	ThreadEach      bool               `json:"threads_per_connection"`
	EndpointBytes   CheckEndpointBytes `json:"endpoint_bytes"`
	Fits            bool               `json:"fits"`
	Limits          []CheckLimit       `json:"limits"`
	Capacity        []CheckCapacity    `json:"capacity"`
	RunConns        *uint64            `json:"run_conns"` // what connprof run could open here
	Features        []CheckFeature     `json:"features"`
}

// CheckEndpointBytes is the kernel memory of one idle endpoint, in bytes of slab pages.
type CheckEndpointBytes struct {
	Client uint64 `json:"client"`
	Server uint64 `json:"server"`
	Source string `json:"source"` // the recording it was measured in, or that it is assumed
}

// CheckLimit is one row of the table.
type CheckLimit struct {
	Name    string  `json:"name"`
	Where   string  `json:"where"`
	Unit    string  `json:"unit"` // bytes or count
	Now     *uint64 `json:"now"`
	Used    uint64  `json:"used"`
	Need    uint64  `json:"need"`
	Verdict string  `json:"verdict"` // ok, too low, warns, unknown
	// Holds is how many connections it allows by role; absent for a limit that stops none.
	Holds       map[string]*uint64 `json:"holds,omitempty"`
	Consequence string             `json:"consequence"`
	Note        string             `json:"note,omitempty"`
	Fix         string             `json:"fix,omitempty"`    // the command that raises it
	Manual      string             `json:"manual,omitempty"` // why --fix does not
	BindsRun    bool               `json:"binds_run"`
}

// CheckCapacity is how many connections the host holds in one role.
type CheckCapacity struct {
	Role      string  `json:"role"`
	Conns     *uint64 `json:"conns"`
	First     string  `json:"first,omitempty"` // the limit that binds first
	Next      string  `json:"next,omitempty"`  // and the one after it
	NextConns *uint64 `json:"next_conns"`
}

// CheckFeature is something that connprof asks of the kernel.
type CheckFeature struct {
	Name        string `json:"name"`
	State       string `json:"state"` // ok, fallback, missing, unknown
	Detail      string `json:"detail"`
	Consequence string `json:"consequence,omitempty"` // of its absence
	Fix         string `json:"fix,omitempty"`
}

// CheckJSON writes the document.
func CheckJSON(w io.Writer, c *Check) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(c)
}

// minCheckWidth is the narrowest terminal that the table keeps to.
const minCheckWidth = 80

// CheckText writes the table for a terminal of so many columns, 80 at least; 0 is the width of other reports.
func CheckText(w io.Writer, c *Check, width int, color bool) error {
	if width <= 0 || width > textWidth {
		width = textWidth
	}
	p := &checkPage{terminal: newTerminal(w, color), width: max(width, minCheckWidth)}
	p.paragraph(bold, "Limits on "+c.subject())
	p.paragraph(dim, fmt.Sprintf("memory of an idle endpoint: client %s, server %s (%s)", size(float64(c.EndpointBytes.Client)),
		size(float64(c.EndpointBytes.Server)), c.EndpointBytes.Source))
	p.line()
	p.limits(c.Limits)
	p.line()
	p.paragraph(bold, c.holds())
	p.paragraph(normal, c.binding())
	p.line()
	p.paragraph(dim, "* connprof run is not bound by it: it works in a network namespace and in descriptor tables of its own."+
		c.runHolds())
	p.features(c.Features)
	return p.flush()
}

// checkPage is a terminal of a width of its own.
type checkPage struct {
	*terminal
	width int
	said  string // by the last row, below it
}

func (p *checkPage) paragraph(s style, text string) {
	for _, text := range wrap(text, p.width-2) {
		p.line("  ", p.styled(s, text))
	}
}

// under writes a text below a row.
func (p *checkPage) under(s style, text string) {
	if text == "" {
		return
	}
	for _, text := range wrap(text, p.width-6) {
		p.line("      ", p.styled(s, text))
	}
}

// underOnce leaves out what the row before has said already.
func (p *checkPage) underOnce(text string) {
	if text != p.said {
		p.under(dim, text)
	}
	p.said = text
}

// command writes what is to be copied: it is never broken.
func (p *checkPage) command(text string) {
	if text != "" {
		p.line("    > ", p.styled(blue, clean(text)))
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

func (p *checkPage) limits(rows []CheckLimit) {
	tab := table{columns: []column{{title: "limit"}, {title: "where"}, {title: "now", right: true},
		{title: "in use", right: true}, {title: "needed", right: true}, {title: "verdict"}}}
	wide := p.width >= textWidth
	for _, r := range rows {
		tab.add(cell{clean(r.Name), normal}, cell{clean(r.Where), dim}, cell{r.now(), normal}, cell{r.used(), dim}, cell{r.need(), normal},
			cell{r.verdict(), r.style()})
	}
	if !wide {
		tab.drop(checkUsed)
	}
	p.fit(&tab)
	widths := tab.widths()
	heads := make([]cell, len(tab.columns))
	for i, c := range tab.columns {
		heads[i] = cell{c.title, dim}
	}
	p.cells(&tab, widths, heads)
	for i, r := range rows {
		p.cells(&tab, widths, tab.rows[i])
		p.below(&r, wide)
	}
}

// drop takes a column out of the table.
func (t *table) drop(column int) {
	t.columns = append(t.columns[:column], t.columns[column+1:]...)
	for i, row := range t.rows {
		t.rows[i] = append(row[:column], row[column+1:]...)
	}
}

// fit shortens what says where, from the left: its end tells more.
func (p *checkPage) fit(tab *table) {
	room := p.width
	for i, w := range tab.widths() {
		room -= 2
		if i != checkWhere {
			room -= w
		}
	}
	for _, row := range tab.rows {
		row[checkWhere].text = shortenLeft(row[checkWhere].text, room)
	}
}

func shortenLeft(s string, limit int) string {
	n := utf8.RuneCountInString(s)
	if n <= limit {
		return s
	}
	return "…" + string([]rune(s)[n-limit+1:])
}

func (p *checkPage) below(r *CheckLimit, wide bool) {
	if !wide && r.Used > 0 {
		p.under(dim, r.amount(&r.Used)+" in use")
	}
	p.under(dim, r.Note)
	if r.Verdict != "too low" && r.Verdict != "warns" {
		return
	}
	p.under(normal, r.Consequence)
	p.command(r.Fix)
	if r.Manual != "" && r.Verdict == "too low" {
		p.underOnce("--fix leaves it: " + r.Manual)
	}
}

func (r *CheckLimit) amount(n *uint64) string {
	switch {
	case n == nil && r.Verdict == "unknown":
		return none
	case n == nil:
		return "no limit"
	case r.Unit == "bytes":
		return size(float64(*n))
	}
	return count(*n)
}

func (r *CheckLimit) now() string { return r.amount(r.Now) }

func (r *CheckLimit) used() string {
	if r.Used == 0 {
		return ""
	}
	return r.amount(&r.Used)
}

func (r *CheckLimit) need() string {
	if r.Need == 0 {
		return none
	}
	return r.amount(&r.Need)
}

// verdict marks what does not bind connprof run.
func (r *CheckLimit) verdict() string {
	if !r.BindsRun && (r.Verdict == "too low" || r.Verdict == "warns") {
		return r.Verdict + "*"
	}
	return r.Verdict
}

func (r *CheckLimit) style() style {
	switch r.Verdict {
	case "ok":
		return good
	case "unknown":
		return dim
	}
	return warning
}

var roleWords = map[string]string{"client": "as client", "server": "as server", "both": "with both ends"}

func (c *Check) subject() string {
	return fmt.Sprintf("%s %s, from %s to %s", plural(c.Conns, "connection", "connections"), roleWords[c.Role],
		plural(c.ClientAddresses, "client address", "client addresses"), plural(c.ServerPorts, "server port", "server ports"))
}

// holds is the first of the two sentences: how many.
func (c *Check) holds() string {
	var parts []string
	for _, r := range c.Capacity {
		n := "any number"
		if r.Conns != nil {
			n = count(*r.Conns)
		}
		parts = append(parts, n+" "+roleWords[r.Role])
	}
	return fmt.Sprintf("This host can hold, as connections of an ordinary program, %s.", series(parts))
}

// binding is the second: which limit comes first, and which next. Roles that agree are named together.
func (c *Check) binding() string {
	var order []string
	roles := map[string][]string{}
	for _, r := range c.Capacity {
		text := "no limit that is known binds"
		if r.First != "" {
			text = "the first limit to bind is " + r.First
		}
		if r.Next != "" {
			text += fmt.Sprintf(", the next %s (%s)", r.Next, count(*r.NextConns))
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

func (c *Check) runHolds() string {
	if c.RunConns == nil {
		return ""
	}
	return fmt.Sprintf(" With these addresses and ports it can open %s here.", count(*c.RunConns))
}

// series joins with commas and an and.
func series(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func (p *checkPage) features(list []CheckFeature) {
	p.section("Kernel features", "")
	tab := table{columns: []column{{}, {}}}
	for _, f := range list {
		tab.add(cell{f.Name, normal}, cell{f.State, featureStyle(f.State)})
	}
	widths := tab.widths()
	used := 2
	for _, w := range widths {
		used += w + 2
	}
	for i, f := range list {
		detail := wrap(f.Detail, p.width-used)
		p.cells(&table{columns: append(tab.columns, column{})}, append(widths, 0), append(tab.rows[i], cell{detail[0], dim}))
		for _, more := range detail[1:] {
			p.line(strings.Repeat(" ", used), p.styled(dim, more))
		}
		p.advice(list, i)
	}
}

// advice says what the absence means and what to do, once for rows that agree.
func (p *checkPage) advice(list []CheckFeature, i int) {
	f := list[i]
	if next := i + 1; f.State == "ok" || next < len(list) && list[next].State == f.State &&
		list[next].Consequence == f.Consequence && list[next].Fix == f.Fix {
		return
	}
	p.under(normal, f.Consequence)
	p.under(dim, f.Fix)
}

func featureStyle(state string) style {
	switch state {
	case "ok":
		return good
	case "missing":
		return warning
	}
	return dim
}
