package account

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
)

// Processes says whose the endpoints are that neither their files nor the trace tell the process of.
type Processes struct {
	ClientPID, ServerPID int
	Comm                 func(pid int) string // a process's name
}

// EndpointList writes one CSV row for each walked endpoint and enters it into the ledger. Columns: role, state, the
// four-tuple, pid and comm of the owner, when it was opened (RFC 3339; empty if that was not traced), page bytes by
// object type, and the sums in bytes, to a thousandth. A bind bucket is split among the endpoints that use it, so that the rows
// add up to the account: every endpoint is counted before the first is visited.
type EndpointList struct {
	csv    *csv.Writer
	users  map[bucket]int
	ends   int     // counted, of connections
	conns  float64 // entries of connection tracking, of which each end has the same share
	extend float64 // how many of these have extensions, 0 to 1
	begun  bool    // the header is written
	ledger *Ledger
	caches *Caches
	owners Processes
	comms  map[int]string
	boot   time.Time // when CLOCK_MONOTONIC was 0
	row    []string
}

// NewEndpointList makes a list. Its header is written with the first row.
func NewEndpointList(w io.Writer, l *Ledger, c *Caches, o Processes) *EndpointList {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return &EndpointList{csv: csv.NewWriter(w), users: map[bucket]int{}, ledger: l, caches: c, owners: o, comms: map[int]string{},
		boot: time.Now().Add(-time.Duration(ts.Nano()))}
}

// writeHeader writes the header, once.
func (l *EndpointList) writeHeader() {
	if l.begun {
		return
	}
	l.begun = true
	header := []string{"role", "state", "local_address", "local_port", "remote_address", "remote_port", "pid", "comm",
		"opened_at"}
	for t := range kernel.Types {
		if kind := kernel.ObjectType(t); l.has(kind) {
			header = append(header, kind.String())
		}
	}
	header = append(header, "object_bytes", "page_bytes", "buffer_bytes")
	if l.ledger.walk.groups.by.Live {
		header = append(header, liveColumns...)
	}
	_ = l.csv.Write(header) // Flush reports the error
}

// has tells whether there is a column for a type. Connection tracking has some where its entries are known.
func (l *EndpointList) has(kind kernel.ObjectType) bool { return l.conns > 0 || !isShared(kind) }

// Track says how many entries connection tracking has for the endpoints, and which part of them has extensions.
func (l *EndpointList) Track(entries int, sites []kernel.Site, symbols *kernel.Symbols) {
	l.conns, l.extend = float64(entries), extended(sites, l.caches, symbols)
}

// Count notes which bind buckets an endpoint uses that others may use as well.
func (l *EndpointList) Count(e *kernel.Endpoint) error {
	if tracked(e.State) {
		l.ends++
	}
	buckets, n := sharedBuckets(e)
	for _, b := range buckets[:n] {
		l.users[b]++
	}
	return nil
}

// shares is how many objects of each type an endpoint has. What was not counted is its own.
func (l *EndpointList) shares(e *kernel.Endpoint) (objects [kernel.NumObjectTypes]float64) {
	for t := range objects {
		objects[t] = float64(e.Objects[t])
	}
	buckets, n := sharedBuckets(e)
	for _, b := range buckets[:n] {
		objects[b.kind] /= float64(max(l.users[b], 1))
	}
	if l.conns > 0 && l.ends > 0 && tracked(e.State) {
		objects[kernel.NFConn] = l.conns / float64(l.ends)
		objects[kernel.NFConnExt] = objects[kernel.NFConn] * l.extend
	}
	return objects
}

// Visit enters one endpoint.
func (l *EndpointList) Visit(e *kernel.Endpoint) error {
	l.writeHeader()
	role := l.ledger.Visit(e, l.caches)
	o, _ := l.ledger.endpoint(e.Sock)
	pid, comm := l.owner(e, role, int(o.pid))
	openedAt := ""
	if o.nanoseconds > 0 {
		openedAt = l.boot.Add(time.Duration(o.nanoseconds)).UTC().Format(time.RFC3339Nano)
	}
	l.row = append(l.row[:0], role.String(), e.State.String(), e.Local.Addr().String(), port(e.Local.Port()),
		e.Remote.Addr().String(), port(e.Remote.Port()), strconv.Itoa(pid), format.Cell(format.Clean(comm)), openedAt)
	costs := costsOf(e, l.caches)
	var pages [kernel.NumObjectTypes]float64
	object, page := 0.0, 0.0
	for t, n := range l.shares(e) {
		pages[t] += n * costs[t].PageBytes
		pages[kernel.SlabObjExt] += n * (costs[t].withVector - costs[t].PageBytes)
		object += n * costs[t].objectWithVector
		page += n * costs[t].withVector
	}
	for t, p := range pages {
		if l.has(kernel.ObjectType(t)) {
			l.row = append(l.row, thousandths(p))
		}
	}
	l.row = append(l.row, thousandths(object), thousandths(page), strconv.FormatUint(e.Buffers.Bytes(), 10))
	if l.ledger.walk.groups.by.Live {
		l.row = l.ledger.appendLive(l.row, e)
	}
	return l.csv.Write(l.row)
}

// thousandths are few enough digits to read, and enough for a million rows to add up to a figure within a KiB.
func thousandths(f float64) string { return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64) }

func port(p uint16) string { return strconv.Itoa(int(p)) }

// owner is the process of an endpoint and its name. Where the ledger knows who has which file open, that is the word.
func (l *EndpointList) owner(e *kernel.Endpoint, role kernel.Role, traced int) (pid int, comm string) {
	if owners := l.ledger.walk.groups.by.Owners; owners != nil {
		if _, owner := ownerOf(owners, e); owner != nil {
			return owner.pid(), owner.Comm
		}
		return 0, ""
	}
	switch {
	case traced != 0:
		pid = traced
	case role == kernel.RoleClient:
		pid = l.owners.ClientPID
	default:
		pid = l.owners.ServerPID
	}
	return pid, l.comm(pid)
}

func (l *EndpointList) comm(pid int) string {
	name, ok := l.comms[pid]
	if !ok && pid != 0 && l.owners.Comm != nil {
		name = l.owners.Comm(pid)
		l.comms[pid] = name
	}
	return name
}

// Flush writes what is buffered and returns the first error there was.
func (l *EndpointList) Flush() error {
	l.writeHeader()
	l.csv.Flush()
	return l.csv.Error()
}
