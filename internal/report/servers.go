package report

import (
	"fmt"
	"math"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Servers compares the servers of two runs of one size.
type Servers struct {
	Aside string
	Lines []ServerLine // none where there was one run
}

func serversOf(r *recording.Recording) Servers {
	lines := serverLines(r)
	if len(lines) == 0 {
		return Servers{}
	}
	return Servers{"epoll, and a thread for each connection · " + format.Count(r.Load().ComparedWith.Established), lines}
}

// ServerLine is one figure of two servers: the one that uses epoll and the one with a thread for each connection.
type ServerLine struct {
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
func serverLines(r *recording.Recording) []ServerLine {
	l := r.Load()
	if l == nil || l.ComparedWith == nil || l.ComparedWith.Established <= 0 || l.Established <= 0 {
		return nil
	}
	other := l.ComparedWith
	epoll := serverRun{&other.ServerCost, float64(other.Established), other.ConnectsPerSecond}
	thread := serverRun{&l.ServerCost, float64(l.Established), l.ConnectsPerSecond}
	lines := []ServerLine{
		newServerLine("connections/s", epoll.rate, thread.rate, whole),
		{What: "threads of the server", Epoll: format.Count(epoll.Threads), Thread: format.Count(thread.Threads)},
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

func whole(f float64) string { return format.Count(int64(f)) }

func hundredths(f float64) string { return format.Minus(fmt.Sprintf("%.2f", f)) }

// bytesOf is whole bytes: what the rest of the host does shows as some more, or less than none.
func bytesOf(f float64) string { return format.Minus(format.Count(int64(math.Round(f)))) }

func newServerLine(what string, epoll, thread float64, write func(float64) string) ServerLine {
	line := ServerLine{What: what, Epoll: write(epoll), Thread: write(thread)}
	if epoll > 0 && thread > 0 && line.Epoll != write(0) && thread/epoll < tellingRatio {
		line.Ratio = fmt.Sprintf("%.2f", thread/epoll)
	}
	return line
}

func switchLines(epoll, thread serverRun) []ServerLine {
	e, t := epoll.ContextSwitches, thread.ContextSwitches
	line := func(what string, a, b int64) ServerLine {
		return newServerLine(what, float64(a)/epoll.up, float64(b)/thread.up, hundredths)
	}
	return []ServerLine{
		line("switches a connection: server, to wait", e.Server.Voluntary, t.Server.Voluntary),
		line("                       server, displaced", e.Server.Involuntary, t.Server.Involuntary),
		line("                       client, to wait", e.Client.Voluntary, t.Client.Voluntary),
		line("                       client, displaced", e.Client.Involuntary, t.Client.Involuntary),
	}
}

func growthLines(epoll, thread serverRun) []ServerLine {
	e, t := epoll.Growth, thread.Growth
	line := func(what string, a, b int64) ServerLine {
		return newServerLine(what, float64(a)/epoll.up, float64(b)/thread.up, bytesOf)
	}
	return []ServerLine{
		line("bytes a connection:    slab", e.SlabBytes, t.SlabBytes),
		line("                       kernel stacks", e.KernelStackBytes, t.KernelStackBytes),
		line("                       page tables", e.PageTableBytes, t.PageTableBytes),
		line("                       server's user space", e.ServerUserBytes, t.ServerUserBytes),
		line("                       together", e.Total(), t.Total()),
	}
}
