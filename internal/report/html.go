package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

//go:embed assets
var assets embed.FS

// The templates escape all that comes from a recording, also inside the JSON that the scripts read.
var pages = template.Must(template.ParseFS(assets, "assets/*.tmpl"))

// page is what every page has, whatever it is about.
type page struct {
	Title      string
	CSS        template.CSS
	Script     template.JS
	Policy     string
	Sentence   string
	Detail     string
	Tiles      []tile
	Flame      flameData
	FlameNote  string
	Categories []category
	Report     *reportView
	Diff       *diffView
}

// tile is one headline figure.
type tile struct {
	Label, Value, Unit, Detail string
	Warn                       bool
}

// HTML writes one self-contained page: flame graph, account, timeline and all that says how far to trust them. It loads
// nothing, and its policy forbids the browser to load or run anything else. The error is w's.
func HTML(w io.Writer, r *recording.Recording) error {
	c := connectionOf(r)
	sentence, detail := answerOf(r)
	p := newPage("connprof: " + commandLine(r.Command))
	p.Sentence, p.Detail = sentence, detail
	p.Tiles = tiles(r, c)
	p.Flame = newFlameData(pathsOf(r), r.Counts(), false)
	said, _ := samplingSentences(r)
	p.FlameNote = strings.Join(said, " ")
	p.Report = newReportView(r, c)
	return p.write(w)
}

// DiffHTML writes the same kind of page for two recordings: a flame graph coloured by what grew and shrank, and what an
// endpoint costs in each. The error is w's.
func DiffHTML(w io.Writer, older, newer *recording.Recording) error {
	rows := compareRows(older, newer)
	p := newPage("connprof: difference of two recordings")
	p.Sentence, p.Detail, _ = changeAnswer(older, newer, rows)
	p.Tiles = diffTiles(older, newer)
	endpoints := newer.Counts()
	for role, n := range older.Counts() {
		if endpoints[role] == 0 {
			endpoints[role] = n
		}
	}
	p.Flame = newFlameData(diffPaths(older, newer), endpoints, true)
	p.FlameNote = "A frame is as wide as the larger of old and new. Where the recordings hold different numbers of " +
		"endpoints, the old bytes are scaled to the new number. Which paths were sampled differs from run to run by chance."
	p.Diff = newDiffView(older, newer, rows)
	return p.write(w)
}

func newPage(title string) *page {
	script := asset("page.js") + asset("flame.js") + asset("timeline.js")
	sum := sha256.Sum256([]byte(script))
	return &page{
		Title:  title,
		CSS:    template.CSS(asset("page.css") + asset("flame.css")),
		Script: template.JS(script),
		Policy: fmt.Sprintf("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-%s'",
			base64.StdEncoding.EncodeToString(sum[:])),
		Categories: categories,
	}
}

func asset(name string) string {
	data, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic("report: " + err.Error()) // cannot happen: the file is part of the program
	}
	return string(data)
}

// write renders into memory first, so that a failing template leaves no half page behind.
func (p *page) write(w io.Writer) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "page.tmpl", p); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// reportView is what only the page of a single recording has.
type reportView struct {
	Aside      string // beside the program's name: on what the run was made
	Alerts     []string
	Ends       []endView
	Rows       []rowView
	Timelines  []*timelineView
	Hooks      []hookTable
	Run        []fact
	Load       []fact
	Accounts   []accountView
	Checks     []checkLine
	Agreements []fact
	Coverage   string
	Losses     []lossView
	Costs      []factsView
	Top        []topView
	Sites      []sitesView
	Plans      []planView
	Notes      []string
}

// accountView holds an account against a kernel's figures.
type accountView struct {
	Label  string
	Facts  []fact
	Caches []cacheLine
}

// factsView are facts of one machine.
type factsView struct {
	Label string
	Facts []fact
}

// sitesView are the call sites that one machine counted.
type sitesView struct {
	Title string
	Sites []recording.CallSite
}

// endView is one end of a connection as a bar of object types, on the scale of the costlier end.
type endView struct {
	Role, Size, Exact string
	Parts             []partView
}

type partView struct {
	Category, Type, Percent, Detail string
}

// rowView is the table of one endpoint row.
type rowView struct {
	Title, State, Count  string
	Objects              []objectLine
	ObjectEach, PageEach string
	Size                 string
	Queued               string // data queued by an endpoint; empty when there is none
}

type topView struct {
	Role, State, Local, Remote, PID, Objects, ObjectBytes, PageBytes, BufferBytes string
}

func newReportView(r *recording.Recording, c connection) *reportView {
	v := &reportView{
		Aside:      aside(r),
		Alerts:     alerts(r),
		Ends:       endViews(c),
		Timelines:  timelinesOf(r),
		Hooks:      hookTables(r),
		Run:        runFacts(r),
		Load:       append(loadFacts(r), serverFacts(r)...),
		Checks:     checkLines(traced(r)),
		Agreements: agreementsOf(r),
		Coverage:   coverage(r),
		Losses:     lossViews(r),
		Sites:      siteViews(r),
		Plans:      planViews(r),
		Notes:      notes(r),
	}
	for _, m := range reconciled(r) {
		v.Accounts = append(v.Accounts, accountView{accountOf(r, m), reconcileFacts(m.Reconcile), cacheLines(m.Reconcile)})
	}
	for _, m := range profiled(r) {
		v.Costs = append(v.Costs, factsView{m.label, costFacts(m)})
	}
	for _, row := range sortedRows(r) {
		v.Rows = append(v.Rows, rowView{Title: rowTitle(row.Role), State: clean(row.State), Count: count(row.Count),
			Objects: objectLines(row), ObjectEach: each(row.ObjectBytes, row.Count), PageEach: each(row.PageBytes, row.Count),
			Size: size(pageEach(row)), Queued: queued(row)})
	}
	for _, e := range r.Top() {
		v.Top = append(v.Top, newTopView(e))
	}
	return v
}

// aside names the host, or both where there are two.
func aside(r *recording.Recording) string {
	if len(r.Machines) == 1 {
		return hostLine(r.Machines[0])
	}
	var names []string
	for _, m := range r.Machines {
		names = append(names, hostName(m))
	}
	line := strings.Join(names, " to ") + " · Linux " + kernels(r)
	if r.OneKernel() {
		line += " · both ends share one kernel"
	}
	return strings.TrimSpace(line)
}

// alerts say that a recording is not whole.
func alerts(r *recording.Recording) []string {
	var list []string
	for _, why := range interruptions(r) {
		list = append(list, "Interrupted: "+why)
	}
	if only, warn := missingSentence(r); warn {
		list = append(list, "This is "+only+".")
	}
	return list
}

// timelinesOf are the courses of both machines, or one where they share the kernel whose memory it shows.
func timelinesOf(r *recording.Recording) []*timelineView {
	machines := reconciled(r)
	if len(machines) == 0 {
		machines = all(r)
	}
	var list []*timelineView
	for _, m := range machines {
		if view := timelineOf(m); view != nil {
			list = append(list, view)
		}
	}
	return list
}

func siteViews(r *recording.Recording) []sitesView {
	var views []sitesView
	add := func(m machine, sites []recording.CallSite, when string) {
		if len(sites) > 0 {
			views = append(views, sitesView{m.prefixed(plural(len(sites), "call site", "call sites") + " that allocated or freed" +
				when), sites})
		}
	}
	for _, m := range traced(r) {
		add(m, m.Trace.CallSites, m.forTheBatch())
		add(m, m.Trace.ScenarioCallSites, " while the scenario was arranged")
	}
	return views
}

func queued(row *recording.EndpointRow) string {
	if row.BufferBytes == 0 {
		return ""
	}
	return size(bufferEach(row))
}

func endViews(c connection) []endView {
	var ends []endView
	most := max(pageEach(c.client), pageEach(c.server))
	for _, row := range []*recording.EndpointRow{c.client, c.server} {
		if row == nil || most == 0 {
			continue
		}
		end := endView{Role: row.Role.String(), Size: size(pageEach(row)), Exact: each(row.PageBytes, row.Count) + " B"}
		for _, o := range objectLines(row) {
			end.Parts = append(end.Parts, partView{o.Category, o.Type, coordinate(100 * o.Fraction * ratio(pageEach(row), most)),
				fmt.Sprintf("%s: %s B an endpoint, %s", o.Type, o.PageEach, o.Share)})
		}
		ends = append(ends, end)
	}
	return ends
}

func newTopView(e *recording.TopEndpoint) topView {
	v := topView{Role: e.Role.String(), State: clean(e.State), Local: clean(e.Local), Remote: clean(e.Remote), PID: none,
		ObjectBytes: count(e.ObjectBytes), PageBytes: count(e.PageBytes), BufferBytes: count(e.BufferBytes)}
	if e.PID > 0 {
		v.PID = fmt.Sprint(e.PID)
	}
	types := make([]string, 0, len(e.Objects))
	for name := range e.Objects {
		types = append(types, name)
	}
	sort.Strings(types)
	for i, name := range types {
		if i > 0 {
			v.Objects += ", "
		}
		v.Objects += clean(name)
		if n := e.Objects[name]; n != 1 {
			v.Objects += " × " + count(n)
		}
	}
	return v
}
