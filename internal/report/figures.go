package report

import (
	"fmt"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/account"
)

const established = "ESTABLISHED"

// connection is the pair of rows that one connection is made of. Either may be nil: with the other end on another
// machine only one is here.
type connection struct {
	client, server *recording.EndpointRow
	listener       *recording.EndpointRow // only where listeners are what the run was about
	oneEnd         string               // client or server where another machine has the other end, empty otherwise
}

// connectionOf takes the ESTABLISHED row of each role, and for a role that has none the row with the most endpoints, as
// when a scenario has left every connection half closed.
func connectionOf(r *recording.Recording) connection {
	c := connection{client: mainRow(r, "client"), server: mainRow(r, "server"), oneEnd: onlyEnd(r)}
	if r.Load.Scenario == "listen" {
		c.listener = mainRow(r, "listener")
	}
	return c
}

func mainRow(r *recording.Recording, role string) *recording.EndpointRow {
	var best *recording.EndpointRow
	for i := range r.Endpoints {
		row := &r.Endpoints[i]
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
	if c.oneEnd != "" {
		sum = "the " + c.oneEnd + "'s end only"
	}
	return sentence, sum
}

// endName is an end's size, with its state where that is not the usual one.
func endName(row *recording.EndpointRow) string {
	if row.State == established {
		return size(pageEach(row))
	}
	return size(pageEach(row)) + " " + clean(row.State)
}

// roleEndpoints counts the endpoints of each role over all states: what the stacks of a role belong to.
func roleEndpoints(r *recording.Recording) map[string]int {
	endpoints := map[string]int{}
	for _, row := range r.Endpoints {
		endpoints[row.Role] += max(row.Count, 0)
	}
	return endpoints
}

// roleOrder is the order in which roles are shown; roles it does not know follow by name.
var roleOrder = map[string]int{"client": 1, "server": 2, "listener": 3}

func roleLess(a, b string) bool {
	x, y := roleOrder[a], roleOrder[b]
	switch {
	case x == y:
		return a < b
	case x == 0:
		return false
	case y == 0:
		return true
	}
	return x < y
}

// sortedRows are the endpoint rows with content, by role, then the most endpoints first.
func sortedRows(r *recording.Recording) []*recording.EndpointRow {
	var rows []*recording.EndpointRow
	for i := range r.Endpoints {
		if row := &r.Endpoints[i]; row.Count > 0 || row.PageBytes > 0 || len(row.Objects) > 0 {
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

// rowTitle names an endpoint row: client endpoints, ESTABLISHED.
func rowTitle(row *recording.EndpointRow) string {
	if row.Role == "" {
		return "Endpoints without a role"
	}
	role := []rune(clean(row.Role))
	title := strings.ToUpper(string(role[:1])) + string(role[1:])
	if row.Role == "listener" {
		return title + "s"
	}
	return title + " endpoints"
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
