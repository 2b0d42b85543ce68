package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Answer is the one sentence a reader came for, and the sum behind it.
type Answer struct {
	Sentence, Sum string
	Exact         string // of one connection, in bytes; empty where the answer is of something else
}

// answerOf is what one connection costs of those that connprof opened, or what all endpoints hold that it found.
func answerOf(r *recording.Recording) Answer {
	if c := connectionOf(r); c.opened {
		return withUserSpace(c.answer(), c, r.Load())
	}
	return holding(r)
}

var established = kernel.StateEstablished.String()

// scenarioListen is the one scenario whose subject is no connection.
const scenarioListen = "listen"

// connection is the pair of rows that one connection is made of. Either may be nil: with the other end on another
// machine only one is here.
type connection struct {
	client, server *recording.EndpointRow
	listener       *recording.EndpointRow // only where listeners are what the run was about
	missing        kernel.Role            // the end without an account, RoleUnknown where none is missing
	opened         bool                   // by connprof
	unmeasured     bool                   // no end was profiled
}

// connectionOf takes the row of each role that is in the scenario's state, and for a role that has none the row with the most
// endpoints.
func connectionOf(r *recording.Recording) connection {
	c := connection{client: mainRow(r, kernel.RoleClient), server: mainRow(r, kernel.RoleServer), missing: r.Missing(),
		opened: r.Load() != nil, unmeasured: len(r.Profiled()) == 0}
	if r.Scenario() == scenarioListen {
		c.listener = mainRow(r, kernel.RoleListener)
	}
	return c
}

// heldIn is the state that the scenario holds a role's ends in: empty where it leaves none. Recordings that do not say so are
// looked at for ESTABLISHED ends.
func heldIn(r *recording.Recording, role kernel.Role) string {
	l := r.Load()
	switch {
	case l == nil || l.ClientState == "" && l.ServerState == "":
		return established
	case role == kernel.RoleClient:
		return l.ClientState
	case role == kernel.RoleServer:
		return l.ServerState
	}
	return established
}

func mainRow(r *recording.Recording, role kernel.Role) *recording.EndpointRow {
	var best *recording.EndpointRow
	held := heldIn(r, role)
	if held == "" {
		return nil
	}
	for _, row := range r.Rows() {
		if row.Role != role || row.Count <= 0 {
			continue
		}
		if row.State == held {
			return row
		}
		if best == nil || row.Count > best.Count {
			best = row
		}
	}
	return best
}

func (c connection) whole() bool { return c.client != nil && c.server != nil }

// ends are those that are here, the client's first.
func (c connection) ends() []*recording.EndpointRow {
	return slices.DeleteFunc([]*recording.EndpointRow{c.client, c.server},
		func(row *recording.EndpointRow) bool { return row == nil })
}

// pageBytes is what one connection costs in slab pages, as far as its ends are on this machine.
func (c connection) pageBytes() float64 { return pageEach(c.client) + pageEach(c.server) }

// bufferBytes is the data queued for one connection.
func (c connection) bufferBytes() float64 { return bufferEach(c.client) + bufferEach(c.server) }

func pageEach(row *recording.EndpointRow) float64 {
	if row == nil || row.Count <= 0 {
		return 0
	}
	return format.Ratio(float64(row.PageBytes), float64(row.Count))
}

func bufferEach(row *recording.EndpointRow) float64 {
	if row == nil || row.Count <= 0 {
		return 0
	}
	return format.Ratio(float64(row.BufferBytes), float64(row.Count))
}

func (c connection) answer() Answer {
	a := Answer{Sentence: "No connection was accounted for"}
	switch {
	case c.unmeasured:
		a = Answer{Sentence: "What a connection costs was not measured", Sum: "the run had no profile"}
	case c.whole():
		a = Answer{Sentence: fmt.Sprintf("One connection costs %s of slab pages", format.Size(c.pageBytes())),
			Sum:   fmt.Sprintf("%s client + %s server", endName(c.client), endName(c.server)),
			Exact: format.Decimal(c.pageBytes()) + " B"}
	case c.client != nil:
		a = Answer{Sentence: fmt.Sprintf("One client endpoint costs %s of slab pages", format.Size(c.pageBytes())),
			Sum: "the server's end is not in this recording"}
	case c.server != nil:
		a = Answer{Sentence: fmt.Sprintf("One server endpoint costs %s of slab pages", format.Size(c.pageBytes())),
			Sum: "the client's end is not in this recording"}
	case c.listener != nil:
		a.Sentence = fmt.Sprintf("One listener costs %s of slab pages", format.Size(pageEach(c.listener)))
	}
	if c.missing != kernel.RoleUnknown {
		a.Sum = "the " + other(c.missing).String() + "'s end only"
	}
	return a
}

// withUserSpace adds what the user's own server takes for the connection.
func withUserSpace(a Answer, c connection, l *recording.Load) Answer {
	if bytes, ok := userEach(l); ok && c.whole() {
		a.Sentence = fmt.Sprintf("One connection costs %s in the kernel and %s in the server", format.Size(c.pageBytes()), format.Size(bytes))
	}
	return a
}

// endName is an end's size, with its state where that is not the usual one.
func endName(row *recording.EndpointRow) string {
	if row.State == established {
		return format.Size(pageEach(row))
	}
	return format.Size(pageEach(row)) + " " + format.Clean(row.State)
}

// holding says what the endpoints that were found hold together, and each role of it.
func holding(r *recording.Recording) Answer {
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
		return Answer{Sentence: "No TCP endpoint was found"}
	}
	var parts []string
	for _, role := range roles {
		parts = append(parts, format.Size(pages[role])+" "+role.String())
	}
	verb := "hold"
	if endpoints == 1 {
		verb = "holds"
	}
	return Answer{Sum: strings.Join(parts, " + "), Sentence: fmt.Sprintf("%s %s %s of slab pages",
		format.Plural(endpoints, "TCP endpoint", "TCP endpoints"), verb, format.Size(all))}
}

// ConnectionLine is what one end of a connection costs, or both, or the data queued for it.
type ConnectionLine struct {
	Name, Exact, Size, What string
	Sum                     bool
}

// connectionLines are none where no end was found, nor where connprof opened nothing: then no two ends are a pair.
func connectionLines(r *recording.Recording) []ConnectionLine {
	c := connectionOf(r)
	if !c.opened || len(c.ends()) == 0 {
		return nil
	}
	line := func(name string, bytes float64, what string, sum bool) ConnectionLine {
		return ConnectionLine{name, format.Decimal(bytes) + " B", format.Size(bytes), what, sum}
	}
	var lines []ConnectionLine
	for _, row := range c.ends() {
		lines = append(lines, line(row.Role.String(), pageEach(row), "slab pages, "+format.Clean(row.State), false))
	}
	if c.whole() {
		lines = append(lines, line("together", c.pageBytes(), "slab pages", true))
	}
	return append(lines, line("queued data", c.bufferBytes(), "not among the above", false))
}
