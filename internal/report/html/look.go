package html

import (
	"fmt"
	"io"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

// lookView is what only the page of a look at a host has.
type lookView struct {
	*report.Look
	Owners []ownerView
	Others *ownerView
	Notes  []string
	Top    []report.TopLine
}

// ownerView is a row of the table of owners: texts to read, and the figures that the page's script sorts by.
type ownerView struct {
	Name, Where, States                              string
	Sockets, Slab, Receive, Send, Unread, Each, Idle string
	SlabBytes, ReceiveBytes, SendBytes, UnreadBytes  uint64
	SocketCount                                      int
	EachBytes                                        string
	IdleSeconds                                      string
	Nobody                                           bool
}

// writeLook writes the page of a look at a host: what stands out, an icicle by levels that the reader chooses, and the owners.
func writeLook(w io.Writer, r *report.Report) error {
	p := newPage("connprof: " + r.Command)
	p.Aside, p.Sentence, p.Detail, p.Alerts, p.Tiles = r.Host, r.Look.Sentence, r.Look.Took, r.Alerts, r.Look.Tiles
	p.Holdings = newHoldings(r.Look.Holdings(), false)
	p.Look = newLookView(r)
	return p.write(w)
}

func newLookView(r *report.Report) *lookView {
	l := &lookView{Look: r.Look, Notes: r.Notes, Top: r.Top}
	for i := range r.Look.All.Rows {
		l.Owners = append(l.Owners, newOwnerView(&r.Look.All.Rows[i]))
	}
	if o := r.Look.All.Others; o != nil {
		v := newOwnerView(o)
		l.Others = &v
	}
	return l
}

func newOwnerView(r *report.OwnerRow) ownerView {
	size := func(b uint64) string {
		if b == 0 {
			return format.None
		}
		return format.Size(float64(b))
	}
	v := ownerView{Name: r.Name(), Where: r.Where, States: r.StateList(), Nobody: r.Nobody, SocketCount: r.Sockets,
		Sockets: format.Count(r.Sockets), Slab: size(r.Slab), Receive: size(r.Receive), Send: size(r.Send), Unread: size(r.Unread),
		SlabBytes: r.Slab, ReceiveBytes: r.Receive, SendBytes: r.Send, UnreadBytes: r.Unread,
		Each: format.Size(r.Each()), EachBytes: format.Plain(r.Each()), Idle: format.None}
	if r.Idle != nil {
		v.Idle, v.IdleSeconds = format.Span(*r.Idle), format.Plain(*r.Idle)
	}
	return v
}

// holdings are report.Holdings as the page's script reads them: names by index.
type holdings struct {
	Levels     []string `json:"levels"`
	Names      []string `json:"names"`
	Categories []string `json:"categories"`
	// Groups have a name on each level, then composition, old, sockets, slab, receive, send and other queued bytes.
	Groups [][]int64 `json:"groups"`
	// Compositions have type, cache, category and bytes, one after the other.
	Compositions [][]int64 `json:"compositions"`
	Diff         bool      `json:"diff"`
}

func newHoldings(of *report.Holdings, diff bool) *holdings {
	h := &holdings{Levels: append([]string{}, of.Levels...), Names: []string{}, Groups: [][]int64{}, Compositions: [][]int64{}, Diff: diff}
	for _, c := range report.Categories {
		h.Categories = append(h.Categories, c.ID)
	}
	index := map[string]int64{}
	name := func(s string) int64 {
		i, known := index[s]
		if !known {
			i = int64(len(h.Names))
			index[s] = i
			h.Names = append(h.Names, s)
		}
		return i
	}
	for _, parts := range of.Compositions {
		list := []int64{}
		for _, p := range parts {
			list = append(list, name(p.Type), name(p.Cache), int64(p.Category), exact(p.Bytes))
		}
		h.Compositions = append(h.Compositions, list)
	}
	for i := range of.Groups {
		g := &of.Groups[i]
		var row []int64
		for _, n := range g.Names {
			row = append(row, name(n))
		}
		old := int64(0)
		if g.Old {
			old = 1
		}
		other := g.Buffers - min(g.Buffers, g.Receive+g.Send)
		h.Groups = append(h.Groups, append(row, int64(g.Composition), old, int64(g.Sockets), exact(g.Slab), exact(g.Receive),
			exact(g.Send), exact(other)))
	}
	return h
}

// exact keeps to the whole numbers that a script can hold.
func exact(b uint64) int64 { return int64(min(b, 1<<53-1)) }

// Any tells whether there is anything to draw.
func (h *holdings) Any() bool { return h != nil && len(h.Groups) > 0 }

// LevelNames are the levels, the objects among them, as the page offers them.
func (h *holdings) LevelNames() []string {
	return append(append([]string{}, h.Levels...), report.LevelObject)
}

// Places are the selects of the levels, from the root on.
func (h *holdings) Places() []string {
	places := make([]string, maxLevels)
	for i := range places {
		places[i] = fmt.Sprintf("level %d", i+1)
	}
	return places
}

// maxLevels is how many levels a reader can choose.
const maxLevels = 4
