package report

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/account"
)

// tolerated is the unexplained share of slab growth above which a report draws the reader's eye to it.
const tolerated = 0.03

// unexplained is slab growth less the account; positive when the kernel uses more than the account found.
func unexplained(r *recording.Recording) float64 {
	return float64(r.Reconcile.SlabDeltaBytes) - float64(r.Reconcile.AccountedPageBytes)
}

// left is what neither the account of endpoints nor that of threads explains.
func left(r *recording.Recording) float64 {
	if t := r.Reconcile.Threads; t != nil {
		return unexplained(r) - float64(t.Bytes)
	}
	return unexplained(r)
}

// unexplainedShare is what is left as a share of the growth. It is empty of meaning where slab did not grow, and says so.
func unexplainedShare(r *recording.Recording) (share string, warn bool) {
	delta := float64(r.Reconcile.SlabDeltaBytes)
	if delta <= 0 {
		return none, r.Reconcile.AccountedPageBytes != 0 || delta < 0
	}
	return signedPercent(left(r), delta), math.Abs(left(r))/delta > tolerated
}

func reconcileFacts(r *recording.Recording) []fact {
	rec := &r.Reconcile
	share, warn := unexplainedShare(r)
	rest := signedSize(unexplained(r))
	if share == none {
		rest += ", no share: slab did not grow"
	} else {
		rest += ", " + share + " of the growth"
	}
	made := fmt.Sprintf("%s, page bytes of all endpoints", exactSize(rec.AccountedPageBytes))
	switch {
	case rec.ReusedBytes > 0:
		made += fmt.Sprintf(" less %s in old slabs", size(float64(rec.ReusedBytes)))
	case rec.ReusedBytes < 0:
		made += fmt.Sprintf(" and %s left free", size(float64(-rec.ReusedBytes)))
	}
	facts := []fact{
		{Key: "slab growth", Value: exactSize(rec.SlabDeltaBytes) + ", Slab in /proc/meminfo"},
		{Key: "accounted", Value: made},
	}
	if rec.Threads != nil {
		return append(facts, threadFacts(r)...)
	}
	return append(facts, fact{Key: "unexplained", Value: rest, Warn: warn})
}

func exactSize(b int64) string {
	return fmt.Sprintf("%s (%s B)", size(float64(b)), minus(count(b)))
}

// cacheLine holds one slab cache's growth against the account.
type cacheLine struct {
	Cache                      string
	GrownObjects, OurObjects   string
	ObjectsDiff                string
	GrownBytes, OurBytes, Diff string
	apart                      float64
}

// cacheLines are the caches in which slabinfo and account differ, furthest apart in bytes first.
func cacheLines(r *recording.Recording) []cacheLine {
	var lines []cacheLine
	for _, c := range r.Reconcile.Caches {
		objects := c.SlabinfoDeltaObjects - c.AccountedObjects
		accounted := float64(c.AccountedPageBytes - c.ReusedBytes)
		bytes := float64(c.SlabinfoDeltaBytes) - accounted
		if objects == 0 && bytes == 0 {
			continue
		}
		lines = append(lines, cacheLine{
			Cache:        clean(c.Cache),
			GrownObjects: signed(c.SlabinfoDeltaObjects),
			OurObjects:   minus(count(c.AccountedObjects)),
			ObjectsDiff:  signed(objects),
			GrownBytes:   signedSize(float64(c.SlabinfoDeltaBytes)),
			OurBytes:     size(accounted),
			Diff:         signedSize(bytes),
			apart:        math.Abs(bytes),
		})
	}
	sort.SliceStable(lines, func(i, j int) bool {
		if lines[i].apart != lines[j].apart {
			return lines[i].apart > lines[j].apart
		}
		return lines[i].Cache < lines[j].Cache
	})
	return lines
}

// sumApart is how far the caches of some lines are from the account together, whatever the sign.
func sumApart(lines []cacheLine) float64 {
	sum := 0.0
	for _, line := range lines {
		sum += line.apart
	}
	return sum
}

// checkLine is one figure that trace and walk both have.
type checkLine struct {
	Role, What  string
	Trace, Walk string
	Apart       string // how much more or less the trace has, empty when they agree
	Agree       bool
}

// checkLines holds the trace against the walk, each machine's own: endpoints first, then each object type. Disagreements
// come first.
func checkLines(r *recording.Recording) []checkLine {
	var rows []recording.TypeRow
	for _, p := range measured(r) {
		rows = append(rows, opensRows(p.Recording)...)
		rows = append(rows, p.Trace.Types...)
	}
	lines := make([]checkLine, len(rows))
	for i, t := range rows {
		line := checkLine{Role: clean(t.Role), What: clean(t.Type), Trace: minus(count(t.Trace)), Walk: minus(count(t.Walk))}
		if line.Agree = t.Trace == t.Walk; !line.Agree {
			line.Apart = signed(int64(t.Trace)-int64(t.Walk)) + " by the trace"
			if t.Walk > 0 {
				line.Apart = fmt.Sprintf("%s by the trace (%s)", signed(int64(t.Trace)-int64(t.Walk)),
					signedPercent(float64(t.Trace)-float64(t.Walk), float64(t.Walk)))
			}
		}
		lines[i] = line
	}
	sort.SliceStable(lines, func(i, j int) bool { return !lines[i].Agree && lines[j].Agree })
	return lines
}

// opensRows compares the opens that the probes saw with the endpoints the walk found. Only a run whose endpoints are
// all still established can be compared so; in any other the states say more than the sum.
func opensRows(r *recording.Recording) []recording.TypeRow {
	opens := map[string]int{"client": r.Trace.ClientOpens, "server": r.Trace.ServerOpens}
	var rows []recording.TypeRow
	for _, role := range []string{"client", "server"} {
		only, walk := true, 0
		for _, row := range r.Endpoints {
			if row.Role == role && row.Count > 0 {
				only = only && row.State == established
				walk += row.Count
			}
		}
		if only && r.Trace.Closes == 0 && (walk > 0 || opens[role] > 0) {
			rows = append(rows, recording.TypeRow{Role: role, Type: "endpoints", Trace: opens[role], Walk: walk})
		}
	}
	return rows
}

// agreementsOf sum up trace against walk, a sentence for each machine.
func agreementsOf(r *recording.Recording) []fact {
	var list []fact
	for _, p := range measured(r) {
		sentence, warn := agreed(checkLines(p.Recording))
		if of := tracedOf(p.Recording); of != "" && coverage(r) == "" {
			sentence += "; " + of
		}
		list = append(list, p.labelled(fact{Value: sentence, Warn: warn}))
	}
	return list
}

// tracedOf says which connections the trace is of, where its figures are not all of the same.
func tracedOf(r *recording.Recording) string {
	b := r.Trace.BatchConnections
	if b <= 0 || b >= r.Load.Established {
		return ""
	}
	return fmt.Sprintf("opens are those of all connections, allocations those of the first %s, each of which was traced",
		count(b))
}

// coverage is what two machines' figures are of, where that is the same.
func coverage(r *recording.Recording) string {
	parts := measured(r)
	of := tracedOf(parts[0].Recording)
	if len(parts) == 1 || of == "" || of != tracedOf(parts[1].Recording) {
		return ""
	}
	return strings.ToUpper(of[:1]) + of[1:] + "."
}

func agreed(lines []checkLine) (sentence string, warn bool) {
	apart := 0
	for _, line := range lines {
		if !line.Agree {
			apart++
		}
	}
	switch {
	case len(lines) == 0:
		return "nothing to compare", false
	case apart == 0:
		return fmt.Sprintf("agree on all %s", plural(len(lines), "figure", "figures")), false
	}
	return fmt.Sprintf("disagree on %s of %s", count(apart), plural(len(lines), "figure", "figures")), true
}

// lossView is what was missed on one machine, or that nothing was on either.
type lossView struct {
	Label string
	Lost  uint64
	None  string // what to say where nothing was
	Facts []fact
}

func lossViews(r *recording.Recording) []lossView {
	parts := measured(r)
	if len(parts) == 2 && lost(r) == 0 {
		return []lossView{{None: "none, on either machine", Facts: lossFacts(&r.Losses)}}
	}
	views := make([]lossView, len(parts))
	for i, p := range parts {
		views[i] = lossView{p.label(), p.Losses.Total(), "none", lossFacts(&p.Losses)}
	}
	return views
}

// lossFacts are the counters of what was missed, with what each means for the figures.
func lossFacts(l *recording.Losses) []fact {
	kinds := []struct {
		key  string
		n    uint64
		what string
	}{
		{"ring full", l.RingFull, "events for which the ring had no room"},
		{"map full", l.MapFull, "call sites for which the counter table had no room"},
		{"recursion", l.RecursionMisses, "probe runs the kernel skipped inside another"},
		{"stacks", l.StackFailures, "sampled stacks not taken whole"},
		{"walk", l.WalkSkipped, "endpoints met but not followed"},
		{"accepts", l.AcceptMisses, "accepted ends whose process is not known"},
	}
	facts := make([]fact, len(kinds))
	for i, k := range kinds {
		facts[i] = fact{k.key, count(k.n) + " " + k.what, k.n > 0}
	}
	return facts
}

// status is the run's health in a few words each: is the answer to be trusted.
func status(r *recording.Recording) []fact {
	l := &r.Load
	list := []fact{{"connections", fmt.Sprintf("%s of %s established", count(l.Established), count(l.Requested)),
		l.Failed > 0 || l.Established < l.Requested}}
	if onlyEnd(r) == "client" {
		list = append(list, fact{"ends", "without the server's account", true})
	}
	gone := fact{"lost", "nothing lost", false}
	if n := lost(r); n > 0 {
		gone = fact{"lost", count(n) + " lost", true}
	}
	list = append(list, gone, unexplainedStatus(r))
	if len(checkLines(r)) == 0 {
		return list
	}
	return append(list, checkStatus(r))
}

// unexplainedStatus has a figure for each kernel.
func unexplainedStatus(r *recording.Recording) fact {
	list := accounts(r)
	if len(list) > 1 {
		shares, warn := unexplainedShares(r)
		return fact{"unexplained", "slab unexplained: " + strings.Join(shares, ", "), warn}
	}
	share, warn := unexplainedShare(list[0].Recording)
	f := fact{"unexplained", share + " of slab unexplained", warn}
	if r.Reconcile.Threads != nil {
		f.Value += " beside the threads'"
	}
	if share == none {
		f.Value = "slab did not grow"
	}
	return f
}

// unexplainedShares is what is left of each kernel's growth, with the end that it is of where there are two.
func unexplainedShares(r *recording.Recording) (shares []string, warn bool) {
	for _, p := range accounts(r) {
		share, w := unexplainedShare(p.Recording)
		warn = warn || w
		shares = append(shares, strings.TrimSpace(share+" "+p.role))
	}
	return shares, warn
}

func checkStatus(r *recording.Recording) fact {
	var where []string
	for _, p := range measured(r) {
		if _, apart := agreed(checkLines(p.Recording)); apart {
			where = append(where, p.role)
		}
	}
	switch {
	case len(where) == 0:
		return fact{"trace and walk", "trace and walk agree", false}
	case len(where) == 1 && where[0] != "":
		return fact{"trace and walk", "trace and walk disagree at the " + where[0], true}
	}
	return fact{"trace and walk", "trace and walk disagree", true}
}
