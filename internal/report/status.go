package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// status is the recording's health in a few words each: is the answer to be trusted.
func status(r *recording.Recording) []Fact {
	var list []Fact
	if l := r.Load(); l != nil {
		list = append(list, Fact{"connections",
			fmt.Sprintf("%s of %s established", format.Count(r.Established()), format.Count(l.Requested)),
			l.Failed > 0 || r.Established() < l.Requested})
	}
	if r.Missing() == kernel.RoleServer {
		list = append(list, Fact{"ends", "without the server's account", true})
	}
	if len(r.Profiled()) == 0 {
		return append(list, Fact{"profile", "nothing was profiled", false})
	}
	gone := Fact{"lost", "nothing lost", false}
	if n := r.Lost(); n > 0 {
		gone = Fact{"lost", format.Plural(n, "event", "events") + " lost", true}
	}
	list = append(list, gone)
	list = append(list, unexplainedStatus(r)...)
	if len(checksOf(traced(r))) > 0 {
		list = append(list, checkStatus(r))
	}
	return list
}

// unexplainedStatus has a figure for each kernel whose growth there is.
func unexplainedStatus(r *recording.Recording) []Fact {
	list := reconciled(r)
	switch len(list) {
	case 0:
		return nil
	case 1:
		return []Fact{list[0].unexplainedStatus()}
	}
	shares, warn := unexplainedShares(r)
	return []Fact{{"unexplained", "slab unexplained: " + strings.Join(shares, ", "), warn}}
}

func (m machine) unexplainedStatus() Fact {
	share, warn := unexplainedShare(m.Reconcile)
	f := Fact{"unexplained", share + " of slab unexplained", warn}
	switch {
	case m.Reconcile.Threads == nil:
	case m.Load != nil && m.Load.Server != nil:
		f.Value += " beside the server's tasks"
	default:
		f.Value += " beside the threads'"
	}
	if share == format.None {
		f.Value = "slab did not grow"
	}
	return f
}

// unexplainedShares is what is left of each kernel's growth, with the end that it is of where there are two.
func unexplainedShares(r *recording.Recording) (shares []string, warn bool) {
	for _, m := range reconciled(r) {
		share, w := unexplainedShare(m.Reconcile)
		warn = warn || w
		shares = append(shares, strings.TrimSpace(share+" "+m.end))
	}
	return shares, warn
}

func checkStatus(r *recording.Recording) Fact {
	var where []string
	for _, m := range traced(r) {
		if _, apart := agreed(checksOf([]machine{m})); apart {
			where = append(where, m.end)
		}
	}
	switch {
	case len(where) == 0:
		return Fact{"trace and walk", "trace and walk agree", false}
	case len(where) == 1 && where[0] != "":
		return Fact{"trace and walk", "trace and walk disagree at the " + where[0], true}
	}
	return Fact{"trace and walk", "trace and walk disagree", true}
}
