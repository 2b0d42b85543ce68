package report

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// tolerated is the unexplained share of slab growth above which a report draws the reader's eye to it.
const tolerated = 0.03

// unexplained is slab growth less the account; positive when the kernel uses more than the account found.
func unexplained(rec *recording.Reconcile) float64 {
	return float64(rec.SlabDeltaBytes) - float64(rec.AccountedPageBytes)
}

// left is what neither the account of endpoints nor that of threads explains.
func left(rec *recording.Reconcile) float64 {
	if rec.Threads != nil {
		return unexplained(rec) - float64(rec.Threads.Bytes)
	}
	return unexplained(rec)
}

// unexplainedShare is what is left as a share of the growth. It is empty of meaning where slab did not grow, and says so.
func unexplainedShare(rec *recording.Reconcile) (share string, warn bool) {
	delta := float64(rec.SlabDeltaBytes)
	if delta <= 0 {
		return none, rec.AccountedPageBytes != 0 || delta < 0
	}
	return signedPercent(left(rec), delta), math.Abs(left(rec))/delta > tolerated
}

func reconcileFacts(rec *recording.Reconcile) []fact {
	share, warn := unexplainedShare(rec)
	rest := signedSize(unexplained(rec))
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
		return append(facts, threadFacts(rec)...)
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
func cacheLines(rec *recording.Reconcile) []cacheLine {
	var lines []cacheLine
	for _, c := range rec.Caches {
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
func checkLines(machines []machine) []checkLine {
	var rows []recording.TypeRow
	for _, m := range machines {
		if m.Trace != nil {
			rows = append(rows, opensRows(m)...)
			rows = append(rows, m.Trace.Types...)
		}
	}
	lines := make([]checkLine, len(rows))
	for i, t := range rows {
		line := checkLine{Role: t.Role.String(), What: clean(t.Type), Trace: minus(count(t.Trace)), Walk: minus(count(t.Walk))}
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
func opensRows(m machine) []recording.TypeRow {
	var rows []recording.TypeRow
	for _, opens := range []recording.TypeRow{{Role: kernel.RoleClient, Trace: m.Trace.ClientOpens},
		{Role: kernel.RoleServer, Trace: m.Trace.ServerOpens}} {
		only := true
		for _, row := range m.Endpoints {
			if row.Role == opens.Role && row.Count > 0 {
				only = only && row.State == established
				opens.Walk += row.Count
			}
		}
		if only && m.Trace.Closes == 0 && (opens.Walk > 0 || opens.Trace > 0) {
			opens.Type = "endpoints"
			rows = append(rows, opens)
		}
	}
	return rows
}

// traced are the machines whose allocations were traced.
func traced(r *recording.Recording) []machine {
	return slices.DeleteFunc(profiled(r), func(m machine) bool { return m.Trace == nil })
}

// agreementsOf sum up trace against walk, a sentence for each machine.
func agreementsOf(r *recording.Recording) []fact {
	var list []fact
	for _, m := range traced(r) {
		sentence, warn := agreed(checkLines([]machine{m}))
		if of := m.tracedOf(); of != "" && coverage(r) == "" {
			sentence += "; " + of
		}
		list = append(list, m.labelled(fact{Value: sentence, Warn: warn}))
	}
	return list
}

// tracedOf says which connections the trace is of, where its figures are not all of the same.
func (m machine) tracedOf() string {
	if m.batch() == 0 {
		return ""
	}
	return fmt.Sprintf("opens are those of all connections, allocations those of the first %s, each of which was traced",
		count(m.batch()))
}

// coverage is what the figures of several machines are of, where that is the same.
func coverage(r *recording.Recording) string {
	machines := traced(r)
	if len(machines) < 2 || machines[0].tracedOf() == "" {
		return ""
	}
	of := machines[0].tracedOf()
	if slices.ContainsFunc(machines, func(m machine) bool { return m.tracedOf() != of }) {
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
	machines := profiled(r)
	if len(machines) > 1 && r.Lost() == 0 {
		return []lossView{{None: "none, on either machine", Facts: lossFacts(&machines[0].Losses)}}
	}
	views := make([]lossView, len(machines))
	for i, m := range machines {
		views[i] = lossView{m.label, m.Losses.Total(), "none", lossFacts(&m.Losses)}
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

// status is the recording's health in a few words each: is the answer to be trusted.
func status(r *recording.Recording) []fact {
	var list []fact
	if l := r.Load(); l != nil {
		list = append(list, fact{"connections", fmt.Sprintf("%s of %s established", count(l.Established), count(l.Requested)),
			l.Failed > 0 || l.Established < l.Requested})
	}
	if r.Missing() == kernel.RoleServer {
		list = append(list, fact{"ends", "without the server's account", true})
	}
	if len(r.Profiled()) == 0 {
		return append(list, fact{"profile", "nothing was profiled", false})
	}
	gone := fact{"lost", "nothing lost", false}
	if n := r.Lost(); n > 0 {
		gone = fact{"lost", count(n) + " lost", true}
	}
	list = append(list, gone)
	list = append(list, unexplainedStatus(r)...)
	if len(checkLines(traced(r))) > 0 {
		list = append(list, checkStatus(r))
	}
	return list
}

// unexplainedStatus has a figure for each kernel whose growth there is.
func unexplainedStatus(r *recording.Recording) []fact {
	list := reconciled(r)
	switch len(list) {
	case 0:
		return nil
	case 1:
		return []fact{list[0].unexplainedStatus()}
	}
	shares, warn := unexplainedShares(r)
	return []fact{{"unexplained", "slab unexplained: " + strings.Join(shares, ", "), warn}}
}

func (m machine) unexplainedStatus() fact {
	share, warn := unexplainedShare(m.Reconcile)
	f := fact{"unexplained", share + " of slab unexplained", warn}
	if m.Reconcile.Threads != nil {
		f.Value += " beside the threads'"
	}
	if share == none {
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

func checkStatus(r *recording.Recording) fact {
	var where []string
	for _, m := range traced(r) {
		if _, apart := agreed(checkLines([]machine{m})); apart {
			where = append(where, m.end)
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
