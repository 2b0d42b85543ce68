package account

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// csvRows walks the endpoints into a list and gives each row by column name.
func csvRows(t *testing.T, l *Ledger, c *Caches, endpoints ...*kernel.Endpoint) (rows []map[string]string) {
	t.Helper()
	var out bytes.Buffer
	list := NewEndpointList(&out, l, c, Processes{ClientPID: 101, ServerPID: 202,
		Comm: func(pid int) string { return fmt.Sprintf("comm,\"%d\"", pid) }})
	for _, e := range endpoints {
		if err := list.Count(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range endpoints {
		if err := list.Visit(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := list.Flush(); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records[1:] {
		row := map[string]string{}
		for i, column := range records[0] {
			row[column] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheListsHeader(t *testing.T) {
	var out bytes.Buffer
	if err := NewEndpointList(&out, NewLedger(0), testCaches(), Processes{}).Flush(); err != nil {
		t.Fatal(err)
	}
	columns := []string{"role", "state", "local_address", "local_port", "remote_address", "remote_port", "pid", "comm",
		"opened_at"}
	for i := range kernel.Types[:kernel.NFConn] { // it and its extensions have columns where they are tracked
		columns = append(columns, kernel.Types[i].Name)
	}
	columns = append(columns, "object_bytes", "page_bytes", "buffer_bytes")
	if got := strings.TrimSpace(out.String()); got != strings.Join(columns, ",") {
		t.Errorf("header %q, want %q", got, columns)
	}
}

func TestARowTellsWhoseTheEndpointIs(t *testing.T) {
	traced, v6 := client(1), client(2)
	v6.Local, v6.Remote = netip.MustParseAddrPort("[2001:db8::1]:4242"), netip.MustParseAddrPort("[2001:db8::2]:5000")
	l := NewLedger(0)
	before := time.Now()
	l.Opened(kernel.EndpointEvent{Sock: traced.Sock, Role: kernel.RoleClient, PID: 77, Nanoseconds: 1_500_000_000})
	rows := csvRows(t, l, testCaches(), listener(), traced, server(1), v6)
	want := []string{
		"listener LISTEN 10.0.1.1 5000 0.0.0.0 0 202",
		"client ESTABLISHED 10.0.0.1 10001 10.0.1.1 5000 77",
		"server ESTABLISHED 10.0.1.1 5000 10.0.0.1 10001 202",
		"client ESTABLISHED 2001:db8::1 4242 2001:db8::2 5000 101",
	}
	for i, row := range rows {
		got := fmt.Sprint(row["role"], " ", row["state"], " ", row["local_address"], " ", row["local_port"], " ",
			row["remote_address"], " ", row["remote_port"], " ", row["pid"])
		if got != want[i] {
			t.Errorf("row %d is %q, want %q", i, got, want[i])
		}
		if row["comm"] != fmt.Sprintf("comm,\"%s\"", row["pid"]) {
			t.Errorf("row %d: comm %q of pid %s", i, row["comm"], row["pid"])
		}
		if (row["opened_at"] != "") != (i == 1) {
			t.Errorf("row %d opened at %q", i, row["opened_at"])
		}
	}
	at, err := time.Parse(time.RFC3339Nano, rows[1]["opened_at"])
	if err != nil || !at.Before(before) || at.Location() != time.UTC {
		t.Errorf("opened at %q: %v", rows[1]["opened_at"], err)
	}
}

// The list and the account are made of the same costs: they have to agree, whatever is on the slabs.
func TestTheListsSumsMatchItsColumnsAndTheAccount(t *testing.T) {
	for name, c := range map[string]*Caches{"without vectors": testCaches(), "with vectors": accountedCaches(vectorSite(128))} {
		l := NewLedger(0)
		const listenBucket = 0xa000
		endpoints := []*kernel.Endpoint{withBucket(listener(), listenBucket, false)}
		for i := range 32 {
			e := server(i)
			e.Buffers.Backlog = 3
			// Three clients have one bucket of each kind, and so have the listener and two of its servers.
			c := withBucket2(withBucket(client(i), 0xb000+uint64(i/3), false), 0xb000+uint64(i/3), false)
			if i < 2 {
				e = withBucket(e, listenBucket, false)
			}
			endpoints = append(endpoints, c, e)
		}
		rows := csvRows(t, l, c, endpoints...)
		sums := map[string]float64{}
		for i, row := range rows {
			var pages float64
			for kind := range kernel.Types[:kernel.NFConn] {
				n := number(t, row[kernel.Types[kind].Name])
				pages += n
				sums[row["role"]+" "+kernel.Types[kind].Name] += n
			}
			if math.Abs(pages-number(t, row["page_bytes"])) > 0.05 { // columns are rounded to a thousandth
				t.Errorf("%s: row %d: columns add up to %.3f, page_bytes is %s", name, i, pages, row["page_bytes"])
			}
			for _, column := range []string{"object_bytes", "page_bytes", "buffer_bytes"} {
				sums[row["role"]+" "+column] += number(t, row[column])
			}
		}
		r := &recording.Machine{}
		l.Fill(r, evidence(c))
		for _, row := range r.Endpoints {
			for _, o := range row.Objects {
				if got := sums[row.Role.String()+" "+o.Type]; math.Abs(got-float64(o.PageBytes)) > 1 {
					t.Errorf("%s: %s %s: list %.1f, account %d", name, row.Role, o.Type, got, o.PageBytes)
				}
			}
			if got := sums[row.Role.String()+" page_bytes"]; math.Abs(got-float64(row.PageBytes)) > 1 {
				t.Errorf("%s: %s: list %.1f page bytes, account %d", name, row.Role, got, row.PageBytes)
			}
			// The account counts whole objects, of each type in each cache.
			if got := sums[row.Role.String()+" object_bytes"]; math.Abs(got-float64(row.ObjectBytes)) > 64*float64(len(row.Objects)) {
				t.Errorf("%s: %s: list %.1f object bytes, account %d", name, row.Role, got, row.ObjectBytes)
			}
			if got := sums[row.Role.String()+" buffer_bytes"]; got != float64(row.BufferBytes) {
				t.Errorf("%s: %s: list %.1f buffer bytes, account %d", name, row.Role, got, row.BufferBytes)
			}
		}
	}
}

func TestAProcessIsAskedForItsNameOnce(t *testing.T) {
	var asked []int
	var out bytes.Buffer
	list := NewEndpointList(&out, NewLedger(0), testCaches(), Processes{ClientPID: 5,
		Comm: func(pid int) string { asked = append(asked, pid); return "" }})
	for i := range 3 {
		if err := list.Visit(client(i)); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(asked, []int{5}) {
		t.Errorf("asked for %v", asked)
	}
}

// fullDisk refuses everything.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAListThatCannotBeWrittenFails(t *testing.T) {
	list := NewEndpointList(fullDisk{}, NewLedger(0), testCaches(), Processes{})
	_ = list.Visit(client(1)) // buffered
	if err := list.Flush(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Flush: %v", err)
	}
}
