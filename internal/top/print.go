package top

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/format"
)

// MarshalJSON has the fields that scripts read.
func (o Owner) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Names   []string `json:"names"`
		Where   string   `json:"where,omitempty"`
		Sockets int      `json:"sockets"`
		Change  int      `json:"change"`
		Slab    uint64   `json:"slab_bytes"`
		Buffers uint64   `json:"buffer_bytes"`
		Unread  uint64   `json:"unread_bytes"`
		Idle    *float64 `json:"idle_seconds,omitempty"` // the longest
		Opens   *float64 `json:"opens_per_second,omitempty"`
		Closes  *float64 `json:"closes_per_second,omitempty"`
	}{o.Names, o.Where, o.Sockets, o.Change, o.Slab, o.Buffers, o.Unread, o.Idle, o.Opens, o.Closes})
}

// Line is a tick as a line of JSON.
func (t *Tick) Line() ([]byte, error) {
	b, err := json.Marshal(t)
	return append(b, '\n'), err
}

// ownerWidth is the columns of an owner's name.
const ownerWidth = 26

// Text is a tick as a table of so many owners, 80 columns wide.
func (t *Tick) Text(most int) []byte {
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
		name, idle := format.Shorten(o.Name(), ownerWidth), "-"
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
