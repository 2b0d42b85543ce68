package report

import (
	"fmt"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Look is what is shown of a look at a running host.
type Look struct {
	Sentence string // what was found
	Took     string // what finding it cost the host
	Tiles    []Tile
	Owners   OwnerTable
	// Nobody are the endpoints that no process has, where the keys are of processes.
	Nobody OwnerTable
	// All are both together, where there is place for more rows.
	All      OwnerTable
	Findings []Finding
	Objects  ObjectTable
	Books    []Book
	How      []Fact // how it was looked at
	machine  *recording.Machine
}

// OwnerTable is rows of owners, and what is beyond the bound.
type OwnerTable struct {
	Title  string // by process
	Heads  []string
	Rows   []OwnerRow
	Others *OwnerRow // the sum of the rest, nil where there is none
}

// maxOwners bounds the table of a page.
const maxOwners = 1000

// lookOf is nil where a recording has no look at a host. A look is at one machine.
func lookOf(r *recording.Recording, o Options) *Look {
	for _, m := range r.Machines {
		if m.Look == nil {
			continue
		}
		l := &Look{Sentence: lookSentence(m), Took: tookSentence(m), Tiles: lookTiles(m), Findings: findingsOf(m), Objects: objectTableOf(m), Books: booksOf(m), How: howLooked(r, m),
			machine: m}
		l.Owners, l.Nobody = ownerTables(m, o)
		o.Rows = maxOwners
		everyone, _ := GroupBy(m, o.By)
		l.All = newOwnerTable(l.Owners.Title, everyone, o)
		return l
	}
	return nil
}

// ownerTables list owners, and apart from them what has none.
func ownerTables(m *recording.Machine, o Options) (owned, nobody OwnerTable) {
	rows, _ := GroupBy(m, o.By) // the options have been checked
	var with, without []OwnerRow
	for _, row := range rows {
		if row.Nobody {
			without = append(without, row)
		} else {
			with = append(with, row)
		}
	}
	owned, nobody = newOwnerTable("By "+strings.Join(o.By, " and "), with, o), newOwnerTable("Without a process", without, o)
	owned.Heads, nobody.Heads = o.By, o.By
	if n := unreachable(m); n > 0 && keyOf(o.By[0]).owned {
		nobody.Rows = append(nobody.Rows, OwnerRow{Names: []string{unreachableName}, Where: unreachableWhere, Sockets: n, Nobody: true})
	}
	return owned, nobody
}

func keyOf(name string) ownerKey {
	keys, _ := keysOf([]string{name})
	return keys[0]
}

func unreachable(m *recording.Machine) int {
	if m.Books == nil {
		return 0
	}
	return m.Books.Sockets.Unreachable
}

func newOwnerTable(title string, rows []OwnerRow, o Options) OwnerTable {
	sortOwners(rows, o.Sort)
	t := OwnerTable{Title: title, Rows: rows[:min(o.Rows, len(rows))]}
	if rest := rows[len(t.Rows):]; len(rest) > 0 {
		t.Others = &OwnerRow{Names: []string{format.Plural(len(rest), "other", "others")}}
		for i := range rest {
			t.Others.Sockets += rest[i].Sockets
			t.Others.add(&rest[i].Bytes)
			if rest[i].Idle != nil && (t.Others.Idle == nil || *rest[i].Idle > *t.Others.Idle) {
				t.Others.Idle = rest[i].Idle
			}
		}
	}
	return t
}

// lookTiles are the figures of lookSentence, and what is lost.
func lookTiles(m *recording.Machine) []Tile {
	sum, n := sumOf(m)
	tiles := []Tile{{Label: "sockets", Value: format.Count(n),
		Detail: "in " + format.Plural(m.Look.Namespaces, "network namespace", "network namespaces")},
		sizeTile("slab", float64(sum.Slab), "pages of the sockets' objects"),
		sizeTile("buffers", float64(sum.Buffers), format.Size(float64(sum.Receive))+" received, "+format.Size(float64(sum.Send))+" to send"),
		sizeTile("unread", float64(sum.Unread), "has arrived in order")}
	if b := m.Books; b != nil && b.Pages.LimitPressure > 0 {
		share := format.Percent(float64(b.Pages.Kernel), float64(b.Pages.LimitPressure))
		value, unit, _ := strings.Cut(share, " ")
		tiles = append(tiles, Tile{Label: "tcp_mem", Value: value, Unit: unit, Detail: "of its pressure limit",
			Warn: b.Pages.Kernel >= b.Pages.LimitPressure})
	}
	return append(tiles, Tile{Label: "lost events", Value: format.Count(m.Losses.Total()), Warn: m.Losses.Total() > 0})
}

// lookSentence is the sum of all.
func lookSentence(m *recording.Machine) string {
	sum, n := sumOf(m)
	if n == 0 {
		return "No TCP socket was found in " + format.Plural(m.Look.Namespaces, "network namespace", "network namespaces") + "."
	}
	slab := ""
	if b := m.Books; b != nil && b.Slab.TotalBytes > 0 {
		slab = " (" + format.Percent(float64(sum.Slab), float64(b.Slab.TotalBytes)) + " of Slab)"
	}
	verb := "hold"
	if n == 1 {
		verb = "holds"
	}
	s := fmt.Sprintf("%s in %s %s %s of slab%s and %s of buffers", format.Plural(n, "TCP socket", "TCP sockets"),
		format.Plural(m.Look.Namespaces, "network namespace", "network namespaces"), verb, format.Size(float64(sum.Slab)), slab,
		format.Size(float64(sum.Buffers)))
	if m.Host.MemoryBytes > 0 {
		s += ", " + format.Percent(sum.All(), float64(m.Host.MemoryBytes)) + " of MemTotal"
	}
	if m.Books != nil && m.Books.Pages.LimitHigh > 0 {
		s += "; " + tcpMemSentence(&m.Books.Pages)
	}
	return s + "."
}

// tookSentence is what the look cost the host.
func tookSentence(m *recording.Machine) string {
	var parts []string
	if m.Record == nil {
		parts = append(parts, "took "+format.Seconds(m.Look.Seconds))
	}
	if m.Cost.CPUSeconds > 0 {
		parts = append(parts, format.Seconds(m.Cost.CPUSeconds)+" of CPU")
	}
	if m.Cost.ProfilerRSSBytes > 0 {
		parts = append(parts, format.Size(float64(m.Cost.ProfilerRSSBytes))+" of memory")
	}
	switch {
	case m.Record == nil:
		return "The look " + inWords(parts) + "."
	case len(parts) == 0:
		return ""
	}
	return "connprof itself took " + inWords(parts) + "."
}

// inWords joins parts as a sentence does.
func inWords(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

// tcpMemSentence says where the protocol stands between its three limits.
func tcpMemSentence(p *recording.PageBook) string {
	at := "below its low limit"
	switch {
	case p.Kernel >= p.LimitHigh:
		at = "at its high limit"
	case p.Kernel >= p.LimitPressure:
		at = "under pressure"
	case p.Kernel >= p.LimitLow:
		at = "above its low limit"
	}
	return fmt.Sprintf("tcp_mem is %s: %s pages of %s, %s and %s", at, format.Count(p.Kernel), format.Count(p.LimitLow),
		format.Count(p.LimitPressure), format.Count(p.LimitHigh))
}

// sumOf is what all endpoints of a machine hold.
func sumOf(m *recording.Machine) (sum Bytes, sockets int) {
	for i := range m.Endpoints {
		sum.Slab += m.Endpoints[i].PageBytes
		sum.Buffers += m.Endpoints[i].BufferBytes
	}
	for i := range m.Groups {
		sum.Receive += m.Groups[i].RxBytes
		sum.Send += m.Groups[i].TxBytes
		sum.Unread += m.Groups[i].UnreadBytes
	}
	return sum, m.Count()
}

// calibrations say where the bytes of what only allocation sites tell come from.
var calibrations = map[recording.Calibration]string{
	recording.Calibrated:     "by a small batch of connprof's own connections",
	recording.CalibratedOnce: "by a batch that was traced earlier since this boot",
	recording.Uncalibrated:   "none: slabobj_ext vectors and LSM blobs are left out",
}

// howLooked says on what, when and how.
func howLooked(r *recording.Recording, m *recording.Machine) []Fact {
	facts := commandFacts(r)
	facts = append(facts, Fact{Key: "host", Value: hostLine(m)}, Fact{Key: "recorded", Value: recordedAt(r)})
	for _, f := range m.Look.Filter {
		facts = append(facts, Fact{Key: "only", Value: format.Clean(f), Warn: true})
	}
	if said, known := calibrations[m.Look.Calibration]; known {
		facts = append(facts, Fact{"calibration", said, m.Look.Calibration == recording.Uncalibrated})
	}
	facts = append(facts, watchFacts(m)...)
	for _, f := range lossFacts(&m.Losses) {
		if f.Warn {
			f.Key = "lost: " + f.Key
			facts = append(facts, f)
		}
	}
	facts = append(facts, Fact{Key: "walk", Value: fmt.Sprintf("%s, BPF maps %s", format.Seconds(m.Cost.WalkSeconds),
		format.Size(float64(m.Cost.BPFMapBytes)))})
	return facts
}
