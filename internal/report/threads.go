package report

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/recording"
)

// serverLine is one figure of two servers: the one that uses epoll and the one with a thread for each connection.
type serverLine struct {
	What, Epoll, Thread string
	Ratio               string // thread / epoll, empty where it would say nothing
}

// serverRun is what a line needs of a run.
type serverRun struct {
	*recording.ServerCost
	up   float64 // connections
	rate float64
}

// serverLines compares the servers of two runs of one size; none for a recording without a comparison.
func serverLines(r *recording.Recording) []serverLine {
	l := r.Load()
	if l == nil || l.ComparedWith == nil || l.ComparedWith.Established <= 0 || l.Established <= 0 {
		return nil
	}
	other := l.ComparedWith
	epoll := serverRun{&other.ServerCost, float64(other.Established), other.ConnectsPerSecond}
	thread := serverRun{&l.ServerCost, float64(l.Established), l.ConnectsPerSecond}
	lines := []serverLine{
		newServerLine("connections/s", epoll.rate, thread.rate, whole),
		{What: "threads of the server", Epoll: count(epoll.Threads), Thread: count(thread.Threads)},
	}
	if epoll.ContextSwitches != nil && thread.ContextSwitches != nil {
		lines = append(lines, switchLines(epoll, thread)...)
	}
	if epoll.Growth != nil && thread.Growth != nil {
		lines = append(lines, growthLines(epoll, thread)...)
	}
	return lines
}

// tellingRatio is beyond what two servers that do the same differ in: one of the figures is next to nothing.
const tellingRatio = 100

func whole(f float64) string { return count(int64(f)) }

func hundredths(f float64) string { return minus(fmt.Sprintf("%.2f", f)) }

// bytesOf is whole bytes: what the rest of the host does shows as some more, or less than none.
func bytesOf(f float64) string { return minus(count(int64(math.Round(f)))) }

func newServerLine(what string, epoll, thread float64, write func(float64) string) serverLine {
	line := serverLine{What: what, Epoll: write(epoll), Thread: write(thread)}
	if epoll > 0 && thread > 0 && line.Epoll != write(0) && thread/epoll < tellingRatio {
		line.Ratio = fmt.Sprintf("%.2f", thread/epoll)
	}
	return line
}

func switchLines(epoll, thread serverRun) []serverLine {
	e, t := epoll.ContextSwitches, thread.ContextSwitches
	line := func(what string, a, b int64) serverLine {
		return newServerLine(what, float64(a)/epoll.up, float64(b)/thread.up, hundredths)
	}
	return []serverLine{
		line("switches a connection: server, to wait", e.Server.Voluntary, t.Server.Voluntary),
		line("                       server, displaced", e.Server.Involuntary, t.Server.Involuntary),
		line("                       client, to wait", e.Client.Voluntary, t.Client.Voluntary),
		line("                       client, displaced", e.Client.Involuntary, t.Client.Involuntary),
	}
}

func growthLines(epoll, thread serverRun) []serverLine {
	e, t := epoll.Growth, thread.Growth
	line := func(what string, a, b int64) serverLine {
		return newServerLine(what, float64(a)/epoll.up, float64(b)/thread.up, bytesOf)
	}
	return []serverLine{
		line("bytes a connection:    slab", e.SlabBytes, t.SlabBytes),
		line("                       kernel stacks", e.KernelStackBytes, t.KernelStackBytes),
		line("                       page tables", e.PageTableBytes, t.PageTableBytes),
		line("                       server's user space", e.ServerUserBytes, t.ServerUserBytes),
		line("                       together", e.Total(), t.Total()),
	}
}

func textServers(t *terminal, r *recording.Recording) {
	lines := serverLines(r)
	if len(lines) == 0 {
		return
	}
	t.section("Two servers", fmt.Sprintf("epoll, and a thread for each connection · %s", count(r.Load().ComparedWith.Established)))
	tab := table{columns: []column{{}, {title: "epoll", right: true}, {title: "thread", right: true},
		{title: "thread/epoll", right: true}}}
	for _, l := range lines {
		tab.add(cell{l.What, normal}, cell{l.Epoll, normal}, cell{l.Thread, bold}, cell{l.Ratio, normal})
	}
	t.table(&tab)
}

// serverFacts is the comparison for a page that has no table for it.
func serverFacts(r *recording.Recording) []fact {
	var facts []fact
	group := ""
	for _, l := range serverLines(r) {
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
		facts = append(facts, fact{Key: key, Value: value})
	}
	return facts
}

// threadFacts divides what the account leaves unexplained into what threads have and the rest.
func threadFacts(rec *recording.Reconcile) []fact {
	t := rec.Threads
	caches := append([]recording.ThreadCacheGrown(nil), t.Caches...)
	sort.SliceStable(caches, func(i, j int) bool { return caches[i].Bytes > caches[j].Bytes })
	var names []string
	for _, c := range caches {
		if c.Bytes > t.Bytes/100 {
			names = append(names, fmt.Sprintf("%s %s", clean(c.Cache), size(float64(c.Bytes))))
		}
	}
	share, warn := unexplainedShare(rec)
	return []fact{
		{Key: "unexplained", Value: fmt.Sprintf("%s, %s of the growth, by the account of endpoints", signedSize(unexplained(rec)),
			signedPercent(unexplained(rec), float64(rec.SlabDeltaBytes)))},
		{Key: "threads", Value: fmt.Sprintf("%s of that: %s", signedSize(float64(t.Bytes)), strings.Join(names, ", "))},
		{Key: "left", Value: fmt.Sprintf("%s, %s of the growth", signedSize(left(rec)), share), Warn: warn},
	}
}
