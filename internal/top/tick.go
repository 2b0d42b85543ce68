// Package top makes ticks of looks at a host: what is there now, what has changed, and what is opened and closed a second.
package top

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// Schema is the version of a tick's JSON. Fields may come to it; what they mean stays.
const Schema = "connprof.top/1"

// Tick is one look of connprof top. Sizes are bytes. Owners are in the order that was asked for.
type Tick struct {
	Schema  string         `json:"schema"`
	Time    time.Time      `json:"time"`
	Sockets int            `json:"sockets"` // of the chosen ones, as all that has no other word
	States  map[string]int `json:"states"`
	Slab    uint64         `json:"slab_bytes"`
	Buffers uint64         `json:"buffer_bytes"`
	// HostSlab is Slab in /proc/meminfo, Pages what the protocol has taken of tcp_mem, and Limits the three of that.
	// Available is MemAvailable there, 0 where it was not read.
	HostSlab  uint64   `json:"host_slab_bytes,omitempty"`
	Available uint64   `json:"host_available_bytes,omitempty"`
	Pages     int64    `json:"tcp_mem_pages"`
	Limits    [3]int64 `json:"tcp_mem_limits"`
	// Queued is the connections that nobody has accepted, in the fullest queues of the namespaces that were looked at; Full is how many
	// listeners' queues have no place left.
	Queued int `json:"accept_queued"`
	Full   int `json:"accept_queues_full"`
	// Opens and Closes are ends of connections a second in the Seconds since the last tick, of the whole host; nil in the first.
	Seconds float64  `json:"seconds,omitempty"`
	Opens   *float64 `json:"opens_per_second,omitempty"`
	Closes  *float64 `json:"closes_per_second,omitempty"`
	// Losses is what this look has missed, and the counting since it began: with any, the figures are too low.
	Losses uint64 `json:"losses"`
	// LookCPU is what this look has cost connprof, in seconds, RSS its resident memory.
	LookCPU float64 `json:"look_cpu_seconds"`
	RSS     uint64  `json:"rss_bytes"`
	Owners  []Owner `json:"owners"`
	// Machine is the look itself.
	Machine *recording.Machine `json:"-"`
}

// Owner is one owner's sockets, or what else they are divided by.
type Owner struct {
	report.OwnerRow
	Change int // of Sockets, since the first tick
	// Opens and Closes are the ends that its processes have opened since the last tick, and closed of that, a second; nil where that is
	// not counted, and where it is not processes that the sockets are divided by.
	Opens, Closes *float64
	// Grows says that the sockets have become more in the last ticks, and never fewer.
	Grows bool
}

// Counts and ProcessCount are what the looks' host has opened and closed.
type (
	Counts       = live.Counts
	ProcessCount = live.ProcessCount
)

// Ticker makes ticks of looks: it knows the first one, and the last ones' figures.
type Ticker struct {
	by     []string
	sort   string
	first  map[string]int   // sockets by Owner.ID; nil before the first tick
	recent map[string][]int // sockets by Owner.ID in the last ticks, the oldest first
	counts *Counts
}

// NewTicker makes one for owners divided by keys and sorted by an order of Orders.
func NewTicker(by []string, order string) *Ticker { return &Ticker{by: by, sort: order} }

// Divide has the ticks from now on divided by other keys. Changes count from the next tick.
func (k *Ticker) Divide(by []string) { k.by, k.first, k.recent = by, nil, nil }

// Restart has changes count from the next tick on.
func (k *Ticker) Restart() { k.Divide(k.by) }

// Sort has the ticks from now on sorted by an order of Orders.
func (k *Ticker) Sort(order string) { k.sort = order }

// Look looks once, and reads what has been opened and closed where that is counted.
func (k *Ticker) Look(w *live.Watcher) (*Tick, error) {
	m, err := w.Look()
	if err != nil {
		return nil, err
	}
	var counts *Counts
	if w.Counting() {
		if counts, err = w.Counts(); err != nil {
			return nil, err
		}
	}
	t, err := k.Tick(m, counts)
	if err != nil {
		return nil, err
	}
	info, err := kernel.ReadMeminfo()
	t.Available = info["MemAvailable"]
	return t, err
}

// Tick makes one of a look, and of what has been opened and closed so far; nil where that is not counted.
func (k *Ticker) Tick(m *recording.Machine, counts *Counts) (*Tick, error) {
	rows, err := report.OwnersAgain(m, report.Options{By: k.by})
	if err != nil {
		return nil, err
	}
	t := &Tick{Schema: Schema, Time: time.Now().UTC(), States: map[string]int{}, Owners: make([]Owner, 0, len(rows)), Machine: m,
		Losses: m.Losses.Total(), LookCPU: m.Cost.CPUSeconds, RSS: m.Cost.ProfilerRSSBytes}
	if b := m.Books; b != nil {
		t.HostSlab, t.Pages, t.Limits = b.Slab.TotalBytes, b.Pages.Kernel, [3]int64{b.Pages.LimitLow, b.Pages.LimitPressure, b.Pages.LimitHigh}
	}
	if m.Look != nil {
		for i := range m.Look.Listeners {
			l := &m.Look.Listeners[i]
			t.Queued += l.Queue
			if l.Queue > l.Backlog {
				t.Full++
			}
		}
	}
	for i := range rows {
		r := &rows[i]
		t.Sockets, t.Slab, t.Buffers = t.Sockets+r.Sockets, t.Slab+r.Slab, t.Buffers+r.Buffers
		for _, s := range r.States {
			t.States[s.State] += s.Count
		}
		t.Owners = append(t.Owners, Owner{OwnerRow: *r})
	}
	k.compare(t)
	k.rate(t, counts)
	Sort(t.Owners, k.sort)
	return t, nil
}

// recentTicks is how many ticks tell that something grows.
const recentTicks = 5

// compare holds a tick against those before it.
func (k *Ticker) compare(t *Tick) {
	begins := k.first == nil
	if begins {
		k.first, k.recent = map[string]int{}, map[string][]int{}
	}
	recent := make(map[string][]int, len(t.Owners)) // who is gone is forgotten
	for i := range t.Owners {
		o := &t.Owners[i]
		if begins {
			k.first[o.ID()] = o.Sockets
		}
		o.Change = o.Sockets - k.first[o.ID()]
		past := append(k.recent[o.ID()], o.Sockets)
		past = past[max(0, len(past)-recentTicks):]
		recent[o.ID()] = past
		o.Grows = len(past) > 1 && slices.IsSorted(past) && past[0] < past[len(past)-1]
	}
	k.recent = recent
}

// rate works out what was opened and closed since the last tick.
func (k *Ticker) rate(t *Tick, now *Counts) {
	last := k.counts
	if k.counts = now; now == nil {
		return
	}
	t.Losses += now.Lost + now.Skipped
	if last == nil || now.Elapsed < last.Elapsed { // counting began anew
		return
	}
	t.Seconds = (now.Elapsed - last.Elapsed).Seconds()
	perSecond := func(now, last uint64) *float64 {
		r := format.Ratio(float64(now-min(last, now)), t.Seconds)
		return &r
	}
	t.Opens, t.Closes = perSecond(now.Opened, last.Opened), perSecond(now.Closed, last.Closed)
	if !ofProcesses(k.by) {
		return
	}
	for i := range t.Owners {
		o := &t.Owners[i]
		var a, b ProcessCount
		pids := o.PIDs()
		for _, pid := range pids {
			a.Opened, a.Closed = a.Opened+last.Processes[pid].Opened, a.Closed+last.Processes[pid].Closed
			b.Opened, b.Closed = b.Opened+now.Processes[pid].Opened, b.Closed+now.Processes[pid].Closed
		}
		if len(pids) > 0 {
			o.Opens, o.Closes = perSecond(b.Opened, a.Opened), perSecond(b.Closed, a.Closed)
		}
	}
}

// ofProcesses tells whether all sockets of a process are in one row of these keys.
func ofProcesses(by []string) bool {
	return len(by) == 1 && slices.Contains([]string{"process", "pid", "comm", "uid", "cgroup", "container"}, by[0])
}

// order is something that owners can be sorted by, the most first.
type order struct {
	name string
	of   func(*Owner) float64
}

// orders are those that report has not.
var orders = []order{
	{"change", func(o *Owner) float64 { return float64(o.Change) }},
	{"each", func(o *Owner) float64 { return o.Each() }},
	{"opens", func(o *Owner) float64 { return orLess(o.Opens) }},
	{"closes", func(o *Owner) float64 { return orLess(o.Closes) }},
}

func orLess(v *float64) float64 {
	if v == nil {
		return -1
	}
	return *v
}

// Orders are the names of what owners can be sorted by: those of report.OwnerOrders, and what only several looks tell.
func Orders() []string {
	names := report.OwnerOrders()
	for _, o := range orders {
		names = append(names, o.name)
	}
	return names
}

// Sort sorts owners by one of Orders, the most first.
func Sort(owners []Owner, name string) {
	of := func(o *Owner) float64 { return o.All() }
	if row := report.OwnerOrder(name); row != nil {
		of = func(o *Owner) float64 { return row(&o.OwnerRow) }
	} else if at := slices.IndexFunc(orders, func(o order) bool { return o.name == name }); at >= 0 {
		of = orders[at].of
	}
	slices.SortStableFunc(owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(of(&b), of(&a)), report.CompareOwners(&a.OwnerRow, &b.OwnerRow))
	})
}

// List names what is counted and says how many there are of each, the most first.
func List(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = format.Count(counts[name]) + " " + name
	}
	return strings.Join(names, ", ")
}
