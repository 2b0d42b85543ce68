package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// tickSchema is the version of a tick's JSON. Fields may come to it; what they mean stays.
const tickSchema = "connprof.top/1"

// tick is one look of connprof top. Sizes are bytes. Owners are in the order that was asked for.
type tick struct {
	Schema  string         `json:"schema"`
	Time    time.Time      `json:"time"`
	Sockets int            `json:"sockets"` // of the chosen ones, as all that has no other word
	States  map[string]int `json:"states"`
	Slab    uint64         `json:"slab_bytes"`
	Buffers uint64         `json:"buffer_bytes"`
	// HostSlab is Slab in /proc/meminfo, Pages what the protocol has taken of tcp_mem, and Limits the three of that.
	HostSlab uint64   `json:"host_slab_bytes,omitempty"`
	Pages    int64    `json:"tcp_mem_pages"`
	Limits   [3]int64 `json:"tcp_mem_limits"`
	// Opens and Closes are ends of connections a second in the Seconds since the last tick, of the whole host; nil in the first.
	Seconds float64  `json:"seconds,omitempty"`
	Opens   *float64 `json:"opens_per_second,omitempty"`
	Closes  *float64 `json:"closes_per_second,omitempty"`
	// Losses is what this look and the counting have missed: with any, the figures are too low.
	Losses uint64 `json:"losses"`
	// LookCPU is what this look has cost connprof, in seconds, RSS its resident memory.
	LookCPU float64     `json:"look_cpu_seconds"`
	RSS     uint64      `json:"rss_bytes"`
	Owners  []tickOwner `json:"owners"`
}

type tickOwner struct {
	Names   []string `json:"names"`
	Where   string   `json:"where,omitempty"`
	Sockets int      `json:"sockets"`
	Change  int      `json:"change"` // of Sockets, since the first tick
	Slab    uint64   `json:"slab_bytes"`
	Buffers uint64   `json:"buffer_bytes"`
	Unread  uint64   `json:"unread_bytes"`
	Idle    *float64 `json:"idle_seconds,omitempty"` // the longest
}

// ticker makes ticks of looks: it knows the first one and the counts of the last.
type ticker struct {
	view   report.Options
	first  map[string]int // sockets by OwnerRow.ID; nil before the first tick
	counts *live.Counts
}

func newTicker(view report.Options) *ticker { return &ticker{view: view} }

// look looks once, and reads what has been opened and closed where that is counted.
func (k *ticker) look(w *live.Watcher) (*tick, error) {
	m, err := w.Look()
	if err != nil {
		return nil, err
	}
	t, err := k.tick(m)
	if err != nil || !w.Counting() {
		return t, err
	}
	now, err := w.Counts()
	if err != nil {
		return nil, err
	}
	t.Losses += now.Lost + now.Skipped
	if last := k.counts; last != nil {
		seconds := (now.Elapsed - last.Elapsed).Seconds()
		opens, closes := format.Ratio(float64(now.Opened-last.Opened), seconds), format.Ratio(float64(now.Closed-last.Closed), seconds)
		t.Seconds, t.Opens, t.Closes = seconds, &opens, &closes
	}
	k.counts = now
	return t, nil
}

// tick is a look without rates.
func (k *ticker) tick(m *recording.Machine) (*tick, error) {
	rows, err := report.OwnersAgain(m, k.view)
	if err != nil {
		return nil, err
	}
	t := &tick{Schema: tickSchema, Time: time.Now().UTC(), States: map[string]int{}, Owners: []tickOwner{},
		Losses: m.Losses.Total(), LookCPU: m.Cost.CPUSeconds, RSS: m.Cost.ProfilerRSSBytes}
	if b := m.Books; b != nil {
		t.HostSlab, t.Pages, t.Limits = b.Slab.TotalBytes, b.Pages.Kernel, [3]int64{b.Pages.LimitLow, b.Pages.LimitPressure, b.Pages.LimitHigh}
	}
	begins := k.first == nil
	if begins {
		k.first = map[string]int{}
	}
	for i := range rows {
		r := &rows[i]
		if begins {
			k.first[r.ID()] = r.Sockets
		}
		t.Sockets, t.Slab, t.Buffers = t.Sockets+r.Sockets, t.Slab+r.Slab, t.Buffers+r.Buffers
		for _, s := range r.States {
			t.States[s.State] += s.Count
		}
		t.Owners = append(t.Owners, tickOwner{r.Names, r.Where, r.Sockets, r.Sockets - k.first[r.ID()], r.Slab, r.Buffers, r.Unread, r.Idle})
	}
	return t, nil
}

// json is a tick as a line.
func (t *tick) json() ([]byte, error) {
	b, err := json.Marshal(t)
	return append(b, '\n'), err
}

// ownerWidth is the columns of an owner's name.
const ownerWidth = 26

// text is a tick as a table of so many owners, 80 columns wide.
func (t *tick) text(most int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  %s  slab %s (%s of Slab)  buffers %s\n", t.Time.Local().Format(time.TimeOnly), format.Plural(t.Sockets, "socket", "sockets"),
		format.Size(float64(t.Slab)), format.Percent(float64(t.Slab), float64(t.HostSlab)), format.Size(float64(t.Buffers)))
	fmt.Fprintf(&b, "tcp_mem %s of %s, %s, %s pages", format.Count(t.Pages), format.Count(t.Limits[0]), format.Count(t.Limits[1]), format.Count(t.Limits[2]))
	if t.Opens != nil {
		fmt.Fprintf(&b, "  opens %.1f/s  closes %.1f/s", *t.Opens, *t.Closes)
	}
	if t.Losses > 0 {
		fmt.Fprintf(&b, "\n%s lost: the figures are too low", format.Plural(int(t.Losses), "event or socket", "events or sockets"))
	}
	fmt.Fprintf(&b, "\n%-*s %8s %8s %9s %9s %9s %5s\n", ownerWidth, "owner", "sockets", "change", "slab", "buffers", "unread", "idle")
	for _, o := range t.Owners[:min(most, len(t.Owners))] {
		name, idle := format.Shorten(strings.Join(o.Names, " · "), ownerWidth), "-"
		if o.Idle != nil {
			idle = format.Span(*o.Idle)
		}
		fmt.Fprintf(&b, "%s%s %8s %8s %9s %9s %9s %5s\n", name, strings.Repeat(" ", max(ownerWidth-format.Columns(name), 0)), format.Count(o.Sockets),
			format.Signed(int64(o.Change)), format.Size(float64(o.Slab)), format.Size(float64(o.Buffers)), format.Size(float64(o.Unread)), idle)
	}
	if more := len(t.Owners) - most; more > 0 {
		fmt.Fprintf(&b, "and %s\n", format.Plural(more, "other", "others"))
	}
	b.WriteByte('\n')
	return b.Bytes()
}
