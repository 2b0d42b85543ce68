package report

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

var established = kernel.StateEstablished.String()

// connection is the pair of rows that one connection is made of. Either may be nil: with the other end on another
// machine only one is here.
type connection struct {
	client, server *recording.EndpointRow
	opened         bool                   // by connprof
	listener       *recording.EndpointRow // only where listeners are what the run was about
	missing        kernel.Role            // the end that another machine has, RoleUnknown where both are here
}

// connectionOf takes the ESTABLISHED row of each role, and for a role that has none the row with the most endpoints, as
// when a scenario has left every connection half closed.
func connectionOf(r *recording.Recording) connection {
	c := connection{client: mainRow(r, kernel.RoleClient), server: mainRow(r, kernel.RoleServer), missing: r.Missing(),
		opened: r.Load() != nil}
	if r.Scenario() == scenarioListen {
		c.listener = mainRow(r, kernel.RoleListener)
	}
	return c
}

// scenarioListen is the one scenario whose subject is no connection.
const scenarioListen = "listen"

func mainRow(r *recording.Recording, role kernel.Role) *recording.EndpointRow {
	var best *recording.EndpointRow
	for _, row := range r.Rows() {
		if row.Role != role || row.Count <= 0 {
			continue
		}
		if row.State == established {
			return row
		}
		if best == nil || row.Count > best.Count {
			best = row
		}
	}
	return best
}

func (c connection) whole() bool { return c.client != nil && c.server != nil }

// pageBytes is what one connection costs in slab pages, as far as its ends are on this machine.
func (c connection) pageBytes() float64 { return pageEach(c.client) + pageEach(c.server) }

// bufferBytes is the data queued for one connection.
func (c connection) bufferBytes() float64 {
	return bufferEach(c.client) + bufferEach(c.server)
}

func pageEach(row *recording.EndpointRow) float64 {
	if row == nil || row.Count <= 0 {
		return 0
	}
	return ratio(float64(row.PageBytes), float64(row.Count))
}

func bufferEach(row *recording.EndpointRow) float64 {
	if row == nil || row.Count <= 0 {
		return 0
	}
	return ratio(float64(row.BufferBytes), float64(row.Count))
}

// answer is the one sentence a reader came for, and the sum behind it.
func (c connection) answer() (sentence, sum string) {
	switch {
	case c.whole():
		sentence = fmt.Sprintf("One connection costs %s of slab pages", size(c.pageBytes()))
		sum = fmt.Sprintf("%s client + %s server", endName(c.client), endName(c.server))
	case c.client != nil:
		sentence = fmt.Sprintf("One client endpoint costs %s of slab pages", size(c.pageBytes()))
		sum = "the server's end is not in this recording"
	case c.server != nil:
		sentence = fmt.Sprintf("One server endpoint costs %s of slab pages", size(c.pageBytes()))
		sum = "the client's end is not in this recording"
	case c.listener != nil:
		sentence = fmt.Sprintf("One listener costs %s of slab pages", size(pageEach(c.listener)))
	default:
		sentence = "No connection was accounted for"
	}
	if c.missing != kernel.RoleUnknown {
		sum = "the " + other(c.missing).String() + "'s end only"
	}
	return sentence, sum
}

// answerOf is the answer for any recording: what one connection costs of those that connprof opened, or what all hold.
func answerOf(r *recording.Recording) (sentence, sum string) {
	c := connectionOf(r)
	if !c.opened {
		return holding(r)
	}
	return c.answer()
}

// holding says what the endpoints that were found hold together, and each role of it.
func holding(r *recording.Recording) (sentence, sum string) {
	endpoints, all := 0, 0.0
	var roles []kernel.Role
	pages := map[kernel.Role]float64{}
	for _, row := range sortedRows(r) {
		if !slices.Contains(roles, row.Role) {
			roles = append(roles, row.Role)
		}
		endpoints += max(row.Count, 0)
		pages[row.Role] += float64(row.PageBytes)
		all += float64(row.PageBytes)
	}
	if endpoints == 0 {
		return "No TCP endpoint was found", ""
	}
	var parts []string
	for _, role := range roles {
		parts = append(parts, size(pages[role])+" "+role.String())
	}
	verb := "hold"
	if endpoints == 1 {
		verb = "holds"
	}
	return fmt.Sprintf("%s %s %s of slab pages", plural(endpoints, "TCP endpoint", "TCP endpoints"), verb, size(all)),
		strings.Join(parts, " + ")
}

// endName is an end's size, with its state where that is not the usual one.
func endName(row *recording.EndpointRow) string {
	if row.State == established {
		return size(pageEach(row))
	}
	return size(pageEach(row)) + " " + clean(row.State)
}

// roleLess is the order in which roles are shown; an unknown one comes last.
func roleLess(a, b kernel.Role) bool { return a-1 < b-1 }

// sortedRows are the endpoint rows with content, by role, then the most endpoints first.
func sortedRows(r *recording.Recording) []*recording.EndpointRow {
	var rows []*recording.EndpointRow
	for _, row := range r.Rows() {
		if row.Count > 0 || row.PageBytes > 0 || len(row.Objects) > 0 {
			rows = append(rows, row)
		}
	}
	sort.SliceStable(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		if a.Role != b.Role {
			return roleLess(a.Role, b.Role)
		}
		if a.Count != b.Count {
			return a.Count > b.Count
		}
		return a.State < b.State
	})
	return rows
}

// rowTitles name the endpoints of a role.
var rowTitles = map[kernel.Role]string{kernel.RoleClient: "Client endpoints", kernel.RoleServer: "Server endpoints",
	kernel.RoleListener: "Listeners"}

func rowTitle(role kernel.Role) string {
	if title, known := rowTitles[role]; known {
		return title
	}
	return "Endpoints of an unknown role"
}

// objectLine is one line of the account's table: all endpoints of a row, one object type.
type objectLine struct {
	Type, Cache string
	Count       string
	EachObject  string // object bytes of one object
	PerEndpoint string // objects an endpoint holds; fractional where endpoints share
	PageEach    string // page bytes an endpoint
	Share       string
	Fraction    float64 // of the row's page bytes, 0 to 1
	Category    string
}

func objectLines(row *recording.EndpointRow) []objectLine {
	objects := append([]recording.ObjectRow(nil), row.Objects...)
	sort.SliceStable(objects, func(i, j int) bool {
		if objects[i].PageBytes != objects[j].PageBytes {
			return objects[i].PageBytes > objects[j].PageBytes
		}
		return objects[i].Type < objects[j].Type
	})
	lines := make([]objectLine, len(objects))
	for i, o := range objects {
		lines[i] = objectLine{
			Type:        clean(o.Type),
			Cache:       clean(o.Cache),
			Count:       count(o.Count),
			EachObject:  perObject(o),
			PerEndpoint: perEndpoint(o.Count, row.Count),
			PageEach:    each(o.PageBytes, row.Count),
			Share:       percent(float64(o.PageBytes), float64(row.PageBytes)),
			Fraction:    min(ratio(float64(o.PageBytes), float64(row.PageBytes)), 1),
			Category:    categories[categoryOf(o.Type)].ID,
		}
	}
	return lines
}

// perObject shows the decimal only where the objects of a type are not all of one size.
func perObject(o recording.ObjectRow) string {
	if o.Count <= 0 {
		return none
	}
	return group(trimmed(o.ObjectBytes, uint64(o.Count), 1))
}

func perEndpoint(objects, endpoints int) string {
	if endpoints <= 0 || objects < 0 {
		return none
	}
	s := trimmed(uint64(objects), uint64(endpoints), 2)
	if s == "0" && objects > 0 {
		return "<0.01"
	}
	return group(s)
}
