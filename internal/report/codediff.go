package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// CodeDiff is how two records differ by code path, what grew most first. Processes of one name are one: their numbers differ.
type CodeDiff struct {
	Rows   []CodeChange
	Others *CodeChange // the sum of the rows beyond the bound, nil where there is none
	// All has every path that has changed, Same is how many have not.
	All  []CodeChange
	Same int
}

// CodeChange is a code path in two records. Bytes are slab pages and buffers of what was still open.
type CodeChange struct {
	Who, Path, Where     string
	Role                 kernel.Role
	NoRole               bool
	Was, Is              CodeFigures
	Open, Opened, Failed string // the changes
	By, ByOfThis         string // the change of the bytes, and its share of what there was
	Grew                 bool
	key                  string
}

// CodeFigures are those of one record.
type CodeFigures struct {
	Opened, Failed, Live int
	Bytes                uint64
}

func (f *CodeFigures) add(r *OpenerRow) {
	f.Opened, f.Failed, f.Live = added(f.Opened, r.Opened), added(f.Failed, r.Failed), added(f.Live, r.Live)
	f.Bytes += r.Slab + r.Buffers
}

func (c *CodeChange) change() float64 { return float64(c.Is.Bytes) - float64(c.Was.Bytes) }

// Size is what is held now, and ByteChange the change as other programs read it.
func (c *CodeChange) Size() string { return format.Size(float64(c.Is.Bytes)) }

// ByteChange is the change in bytes.
func (c *CodeChange) ByteChange() string { return format.Plain(c.change()) }

func (c *CodeChange) finish() {
	c.Open = format.Signed(int64(c.Is.Live) - int64(c.Was.Live))
	c.Opened = format.Signed(int64(c.Is.Opened) - int64(c.Was.Opened))
	c.Failed = format.Signed(int64(c.Is.Failed) - int64(c.Was.Failed))
	c.By = format.SignedSize(c.change())
	c.Grew = c.change() > 0 || c.change() == 0 && (c.Is.Live > c.Was.Live || c.Is.Live == c.Was.Live && c.Is.Opened > c.Was.Opened)
	switch {
	case c.Was == CodeFigures{}:
		c.ByOfThis = "new"
	case c.Is == CodeFigures{}:
		c.ByOfThis = "gone"
	case c.change() != 0:
		c.ByOfThis = format.SignedPercent(c.change(), float64(c.Was.Bytes))
	}
}

// codeDiffOf is nil where not both recordings are records.
func codeDiffOf(older, newer *recording.Recording, o Options) *CodeDiff {
	was, is := recordIn(older), recordIn(newer)
	if was == nil || is == nil {
		return nil
	}
	at := map[string]*CodeChange{}
	var order []*CodeChange
	take := func(m *recording.Machine, of func(*CodeChange) *CodeFigures) {
		for i := range m.Openers {
			row, key := openerRow(m, i), openerKey(m, &m.Openers[i])
			if at[key] == nil {
				at[key] = newCodeChange(&row, key)
				order = append(order, at[key])
			}
			of(at[key]).add(&row)
		}
	}
	take(is, func(c *CodeChange) *CodeFigures { return &c.Is })
	take(was, func(c *CodeChange) *CodeFigures { return &c.Was })
	d := &CodeDiff{}
	for _, c := range order {
		if c.Was == c.Is {
			d.Same++
			continue
		}
		c.finish()
		d.All = append(d.All, *c)
	}
	slices.SortStableFunc(d.All, func(a, b CodeChange) int {
		return cmp.Or(cmp.Compare(b.change(), a.change()), cmp.Compare(b.Is.Live-b.Was.Live, a.Is.Live-a.Was.Live),
			cmp.Compare(b.Is.Opened-b.Was.Opened, a.Is.Opened-a.Was.Opened), strings.Compare(a.key, b.key))
	})
	d.bound(o.Rows)
	return d
}

func newCodeChange(row *OpenerRow, key string) *CodeChange {
	c := &CodeChange{Who: whoOpened(row.from, false), Path: row.Path(), Where: row.Where, Role: row.Role, key: key}
	c.NoRole = callOf(row.from) == "" && row.Kind != recording.OpenerListener && row.Kind != recording.OpenerKernel
	return c
}

// bound lists so many rows.
func (d *CodeDiff) bound(most int) {
	d.Rows = d.All[:min(most, len(d.All))]
	rest := d.All[len(d.Rows):]
	if len(rest) == 0 {
		return
	}
	d.Others = &CodeChange{Who: format.Plural(len(rest), "other", "others"), NoRole: true}
	for i := range rest {
		for _, side := range []struct{ into, from *CodeFigures }{{&d.Others.Was, &rest[i].Was}, {&d.Others.Is, &rest[i].Is}} {
			side.into.Opened, side.into.Failed = added(side.into.Opened, side.from.Opened), added(side.into.Failed, side.from.Failed)
			side.into.Live, side.into.Bytes = added(side.into.Live, side.from.Live), side.into.Bytes+side.from.Bytes
		}
	}
	d.Others.finish()
}

// Page is as many of All as a page has place for.
func (d *CodeDiff) Page() []CodeChange { return d.All[:min(maxOwners, len(d.All))] }

// codeAnswer is what is still open now, and how that differs.
func codeAnswer(older, newer *recording.Recording, d *CodeDiff) DiffAnswer {
	a, b := recordIn(older), recordIn(newer)
	was, is := liveBytes(a), liveBytes(b)
	answer := DiffAnswer{Sentence: fmt.Sprintf("%s of %s that were opened in %s are still open and hold %s of slab and %s of buffers",
		format.Count(b.Record.Live), format.Plural(b.Record.Opened, "connection", "connections"), howLong(b.Record.Seconds),
		format.Size(float64(is.Slab)), format.Size(float64(is.Buffers)))}
	change := is.All() - was.All()
	more := "more"
	if change < 0 {
		more = "less"
	}
	if len(d.All) == 0 {
		answer.Detail, answer.Same = "each code path has opened as many as before, and as many of them are still open", true
		return answer
	}
	answer.Detail = fmt.Sprintf("%s %s than before, %s still open, %s opened; %s changed, %s new and %s gone", format.Size(math.Abs(change)), more,
		format.Signed(int64(b.Record.Live)-int64(a.Record.Live)), format.Signed(int64(b.Record.Opened)-int64(a.Record.Opened)),
		format.Plural(len(d.All), "code path", "code paths"), format.Count(d.having("new")), format.Count(d.having("gone")))
	return answer
}

func (d *CodeDiff) having(said string) int {
	n := 0
	for i := range d.All {
		if d.All[i].ByOfThis == said {
			n++
		}
	}
	return n
}

// codeTiles are the figures of codeAnswer.
func codeTiles(older, newer *recording.Recording) []Tile {
	a, b := recordIn(older), recordIn(newer)
	was, is := liveBytes(a), liveBytes(b)
	count := func(label string, was, is int) Tile {
		return Tile{Label: label, Value: format.Count(is), Detail: format.Signed(int64(is)-int64(was)) + " from " + format.Count(was)}
	}
	held := sizeTile("kernel memory", is.All(), format.SignedSize(is.All()-was.All())+" from "+format.Size(was.All()))
	return []Tile{count("still open", a.Record.Live, b.Record.Live), held, count("opened", a.Record.Opened, b.Record.Opened),
		count("failed", a.Record.Failed, b.Record.Failed)}
}

// lengthWarning says that records are not of one length, by more than a twentieth.
func lengthWarning(older, newer *recording.Recording) string {
	a, b := recordIn(older), recordIn(newer)
	if a == nil || b == nil || math.Abs(a.Record.Seconds-b.Record.Seconds) <= 0.05*max(a.Record.Seconds, b.Record.Seconds) {
		return ""
	}
	return fmt.Sprintf("the records are of different lengths, %s and %s: what was opened is not to be compared as it stands",
		howLong(a.Record.Seconds), howLong(b.Record.Seconds))
}
