package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// SiteTable is the call sites that one machine counted.
type SiteTable struct {
	Title string
	Sites []Site
}

// Site is one place in the kernel that allocated or freed for the run.
type Site struct {
	Function, Cache, Type string
	Allocs, Frees         uint64
}

func siteTables(r *recording.Recording) []SiteTable {
	var tables []SiteTable
	add := func(m machine, sites []recording.CallSite, when string) {
		if len(sites) == 0 {
			return
		}
		title := format.Plural(len(sites), "call site", "call sites") + " that allocated or freed" + when
		table := SiteTable{Title: m.prefixed(title)}
		for _, s := range sites {
			table.Sites = append(table.Sites, Site{Function: format.Clean(s.Function), Cache: format.Clean(s.Cache),
				Type: format.Clean(s.Type), Allocs: s.Allocs, Frees: s.Frees})
		}
		tables = append(tables, table)
	}
	for _, m := range traced(r) {
		add(m, m.Trace.CallSites, m.forTheBatch())
		add(m, m.Trace.ScenarioCallSites, " while the scenario was arranged")
	}
	return tables
}
