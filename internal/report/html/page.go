// Package html shows reports as one self-contained page each: flame graph, account, timeline and all that says how far to
// trust them. A page loads nothing, and its policy forbids the browser to load or run anything else.
package html

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

//go:embed assets/*.tmpl assets/*.css assets/*.js
var assets embed.FS

// The templates escape all that comes from a recording, also inside the JSON that the scripts read.
var pages = template.Must(template.New("").Funcs(template.FuncMap{"count": format.Count[int]}).
	ParseFS(assets, "assets/*.tmpl"))

// Format is a page.
type Format struct{}

// page is what every page has, whatever it is about.
type page struct {
	Title      string
	CSS        template.CSS
	Script     template.JS
	Policy     string
	Aside      string // beside the program's name
	Sentence   string
	Detail     string
	Alerts     []string
	Tiles      []report.Tile
	Flame      flameData
	FlameNote  string
	Categories []report.Category
	Report     *reportView
	Diff       *report.Diff
	Look       *lookView
	Record     *recordView // beside Look
	Holdings   *holdings   // what the icicle of a look is made from, in the place of Flame
}

// reportView is what only the page of a single recording has.
type reportView struct {
	*report.Report
	Bars   []bar
	Charts []*chart
	Load   []report.Fact
}

// Write writes the page of a recording.
func (Format) Write(w io.Writer, r *report.Report) error {
	if r.Record != nil && r.Look != nil {
		return writeRecord(w, r)
	}
	if r.Look != nil {
		return writeLook(w, r)
	}
	p := newPage("connprof: " + r.Command)
	p.Aside, p.Sentence, p.Detail, p.Alerts, p.Tiles = r.Host, r.Answer.Sentence, r.Answer.Sum, r.Alerts, r.Tiles
	p.Flame = newFlameData(r.Paths, r.Counts, false)
	p.FlameNote = strings.Join(r.CallPaths.Sentences, " ")
	p.Report = &reportView{Report: r, Bars: bars(r.Ends), Load: append(r.Load, serverFacts(r.Servers.Lines)...)}
	for _, t := range r.Timelines {
		p.Report.Charts = append(p.Report.Charts, newChart(t))
	}
	return p.write(w)
}

// WriteDiff writes the same kind of page for two recordings: a flame graph coloured by what grew and shrank, and what an
// endpoint costs in each.
func (Format) WriteDiff(w io.Writer, d *report.Diff) error {
	p := newPage("connprof: difference of two recordings")
	p.Aside, p.Sentence, p.Detail, p.Alerts = "difference of two recordings", d.Answer.Sentence, d.Answer.Detail, d.Warnings
	p.Tiles, p.Diff = d.Tiles, d
	if d.Growth != nil && d.Code == nil {
		p.Holdings = newHoldings(d.Growth.Holdings(), true)
		return p.write(w)
	}
	p.Flame = newFlameData(d.Paths, d.Counts, true)
	if d.Code != nil {
		p.FlameNote = "Code and kernel objects of what was still open. A frame is as wide as the larger of old and new. Processes of one name are one."
		return p.write(w)
	}
	p.FlameNote = "A frame is as wide as the larger of old and new. Where the recordings hold different numbers of " +
		"endpoints, the old bytes are scaled to the new number. Which paths were sampled differs from run to run by chance."
	return p.write(w)
}

func newPage(title string) *page {
	script := asset("page.js") + asset("levels.js") + asset("code.js") + asset("flame.js") + asset("timeline.js") + asset("table.js")
	sum := sha256.Sum256([]byte(script))
	return &page{
		Title:  title,
		CSS:    template.CSS(asset("page.css") + asset("flame.css") + asset("look.css") + asset("record.css")),
		Script: template.JS(script),
		Policy: fmt.Sprintf("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-%s'",
			base64.StdEncoding.EncodeToString(sum[:])),
		Categories: report.Categories,
	}
}

func asset(name string) string {
	data, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic("html: " + err.Error()) // cannot happen: the file is part of the program
	}
	return string(data)
}

// Charts are the courses over time, whose figures the page's script reads.
func (p *page) Charts() []*chart {
	switch {
	case p.Record != nil:
		return p.Record.Charts
	case p.Report != nil:
		return p.Report.Charts
	}
	return nil
}

// CodeDiff tells whether the page is of two records.
func (p *page) CodeDiff() bool { return p.Diff != nil && p.Diff.Code != nil }

// Code is the tree of code of a record, nil where there is none to draw.
func (p *page) Code() *codeData {
	if p.Record == nil || len(p.Record.code.Openers) == 0 {
		return nil
	}
	return p.Record.code
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

// bar is one end of a connection as a bar of object types, on the scale of the costlier end.
type bar struct {
	Role, Size string
	Parts      []barPart
}

type barPart struct {
	Category, Type, Percent, Detail string
}

func bars(ends []report.Row) []bar {
	most := 0.0
	for _, row := range ends {
		most = max(most, row.PageEach)
	}
	if most == 0 {
		return nil
	}
	var list []bar
	for _, row := range ends {
		b := bar{Role: row.Role.String(), Size: row.Size}
		for _, o := range row.Objects {
			b.Parts = append(b.Parts, barPart{o.Category, o.Type, coordinate(100 * o.Fraction * format.Ratio(row.PageEach, most)),
				fmt.Sprintf("%s: %s B an endpoint, %s", o.Type, o.PageEach, o.Share)})
		}
		list = append(list, b)
	}
	return list
}

// serverFacts compare two servers for a page that has no table for it.
func serverFacts(lines []report.ServerLine) []report.Fact {
	var facts []report.Fact
	group := ""
	for _, l := range lines {
		what := strings.TrimSpace(l.What)
		if before, after, ok := strings.Cut(l.What, ":"); ok {
			group, what = before, strings.TrimSpace(after)
		}
		key := ""
		if len(facts) == 0 {
			key = "two servers"
		}
		if group != "" {
			what = group + ", " + what
		}
		value := fmt.Sprintf("%s: epoll %s, thread %s", what, l.Epoll, l.Thread)
		if l.Ratio != "" {
			value += ", " + l.Ratio + " times"
		}
		facts = append(facts, report.Fact{Key: key, Value: value})
	}
	return facts
}
