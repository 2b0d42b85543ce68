package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

func grouped(t *testing.T, m *recording.Machine, keys ...string) []OwnerRow {
	t.Helper()
	rows, err := GroupBy(m, keys)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func namesOf(rows []OwnerRow) []string {
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].Name()
	}
	return names
}

// Whatever the endpoints are divided by, nothing is lost and nothing is there twice.
func TestEachKeyAddsUpToTheEndpoints(t *testing.T) {
	m := sample.Live().Machines[0]
	want, sockets := sumOf(m)
	for _, a := range OwnerKeys() {
		for _, b := range OwnerKeys() {
			keys := []string{a, b}
			if a == b {
				keys = keys[:1]
			}
			var got Bytes
			n := 0
			for _, row := range grouped(t, m, keys...) {
				got.add(&row.Bytes)
				n += row.Sockets
				states := 0
				for _, s := range row.States {
					states += s.Count
				}
				if states != row.Sockets || len(row.Names) != len(keys) {
					t.Errorf("by %s: %q has %d sockets and %d in states", keys, row.Names, row.Sockets, states)
				}
			}
			if n != sockets || got.Slab != want.Slab || got.Buffers != want.Buffers || got.Unread != want.Unread {
				t.Errorf("by %s: %d sockets, %+v, want %d, %+v", keys, n, got, sockets, want)
			}
		}
	}
}

func TestProcessesOfOneNameAndPlaceAreOneRow(t *testing.T) {
	m := sample.Live().Machines[0]
	rows := grouped(t, m)
	got := namesOf(rows)
	want := []string{"redis-server", "apid", "nginx x5", "leaky", "orphans", "haproxy", "TIME_WAIT", "accept queue", "postgres x40",
		"redis-server", "in flight", "SYN_RECV"}
	if !slices.Equal(got, want) {
		t.Errorf("the rows are %q, want %q", got, want)
	}
	if rows[0].Where == rows[9].Where || !strings.HasPrefix(rows[0].Where, "container a91b") {
		t.Errorf("two containers are told apart by %q and %q", rows[0].Where, rows[9].Where)
	}
	if rows[7].Where != "of 0.0.0.0:8443 (apid)" || !rows[7].Nobody {
		t.Errorf("the accept queue is %+v", rows[7])
	}
	if rows[2].StateList() != "4,012 ESTABLISHED, 2 LISTEN" || *rows[2].Idle != 74 {
		t.Errorf("nginx is %+v", rows[2])
	}
}

func TestTwoKeysDivideByBoth(t *testing.T) {
	rows := grouped(t, sample.Live().Machines[0], "comm", "state")
	if !slices.Contains(namesOf(rows), "leaky · CLOSE_WAIT") || !slices.Contains(namesOf(rows), "leaky · ESTABLISHED") {
		t.Errorf("the rows are %q", namesOf(rows))
	}
}

// One address in two containers is two listeners only where the reader asks for the namespace, too.
func TestContainersWithTheSameAddresses(t *testing.T) {
	count := func(keys ...string) (n int) {
		for _, row := range grouped(t, sample.Live().Machines[0], keys...) {
			if row.Names[0] == "10.0.0.2:6379" {
				n++
			}
		}
		return n
	}
	if count("listener") != 1 || count("listener", "netns") != 2 || count("listener", "container") != 2 {
		t.Errorf("%d by listener, %d by listener and netns, %d by listener and container", count("listener"),
			count("listener", "netns"), count("listener", "container"))
	}
}

func TestKeysAndOrdersThatAreNoneAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		`group by "color": there is no such key; take one of process, pid, comm, uid, cgroup, container, netns, listener, service, peer, state, role, opener`: {By: []string{"color"}},
		`group by "state" twice: name each key once`:                                                     {By: []string{"state", "state"}},
		`group by pid,comm,uid: at most 2 keys at a time`:                                                {By: []string{"pid", "comm", "uid"}},
		`sort by "age": there is no such order; take one of bytes, sockets, slab, buffers, unread, idle`: {Sort: "age"},
		`list -1 rows: take a number from 1 on`:                                                          {Rows: -1},
	} {
		if _, err := NewWith(sample.Live(), o); err == nil || err.Error() != want {
			t.Errorf("%+v: error %v, want %s", o, err, want)
		}
	}
}

func TestRowsAreSortedAndTheRestIsSummed(t *testing.T) {
	for order, first := range map[string]string{"bytes": "redis-server", "sockets": "nginx x5", "slab": "nginx x5",
		"buffers": "redis-server", "unread": "redis-server", "idle": "leaky"} {
		r, err := NewWith(sample.Live(), Options{Sort: order, Rows: 2})
		if err != nil {
			t.Fatal(err)
		}
		o := &r.Look.Owners
		if len(o.Rows) != 2 || o.Rows[0].Name() != first || o.Others.Name() != "5 others" {
			t.Errorf("by %s: %q and %q, want %s first", order, namesOf(o.Rows), o.Others.Name(), first)
		}
		n := 0
		for _, table := range []OwnerTable{r.Look.Owners, r.Look.Nobody} {
			for _, row := range append(table.Rows, *table.Others) {
				n += row.Sockets
			}
		}
		if want := sample.Live().Machines[0].Count() + 3; n != want { // and the 3 that only the books know
			t.Errorf("by %s: %d sockets in all rows, want %d", order, n, want)
		}
	}
}

func TestTheRecordingsKeysAreTakenWhereNoneAreAskedFor(t *testing.T) {
	r := sample.Live()
	r.Machines[0].Look.By = []string{"netns"}
	if got := New(r).Look.Owners.Title; got != "By netns" {
		t.Errorf("the table is %q", got)
	}
	r.Machines[0].Look.By = []string{"weather"} // of a later version
	if got := New(r).Look.Owners.Title; got != "By process" {
		t.Errorf("the table is %q", got)
	}
}

func TestNamesOfOthersAreCleanedAndDoNotJoinRows(t *testing.T) {
	m := &recording.Machine{}
	for _, comm := range []string{"a\x1b[2J", "a\x07[2J"} {
		m.Groups = append(m.Groups, recording.Group{Owner: recording.OwnerProcess, Comm: comm, Unit: "u\n", Count: 1, Role: kernel.RoleServer})
	}
	rows := grouped(t, m)
	if len(rows) != 2 || rows[0].Name() != "a?[2J" || rows[0].Where != "u?" {
		t.Errorf("the rows are %+v", rows)
	}
}

func TestTheSentenceSaysWhereTCPStands(t *testing.T) {
	r := sample.Live()
	for pages, want := range map[int64]string{100: "tcp_mem is below its low limit", 285_417: "tcp_mem is above its low limit",
		380_558: "tcp_mem is under pressure", 570_834: "tcp_mem is at its high limit"} {
		r.Machines[0].Books.Pages.Kernel = pages
		if got := New(r).Look.Sentence; !strings.Contains(got, want+":") {
			t.Errorf("%d pages: %s, want %s", pages, got, want)
		}
	}
	r.Machines[0].Endpoints, r.Machines[0].Groups = nil, nil
	if got := New(r).Look.Sentence; got != "No TCP socket was found in 4 network namespaces." {
		t.Errorf("of nothing it says %q", got)
	}
}

func TestGrowthIsSortedByWhatIsAsked(t *testing.T) {
	for order, first := range map[string]string{"": "leaky", "sockets": "leaky", "unread": "apid"} {
		older, newer := sample.Live(), sample.Later()
		for i := range newer.Machines[0].Groups {
			if g := &newer.Machines[0].Groups[i]; g.Comm == "apid" {
				g.UnreadBytes += 100
				g.Count--
			}
		}
		d, err := CompareWith(older, newer, Options{By: []string{"comm"}, Sort: order, Rows: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Growth.Owners[0].Name; got != first {
			t.Errorf("sorted by %q the first is %s, want %s", order, got, first)
		}
	}
}

// What an owner is divided into adds up to it, and is that of a later look as well.
func TestAnOwnerIsDividedAgain(t *testing.T) {
	m := sample.Live().Machines[0]
	rows, err := OwnersAgain(m, Options{By: []string{"process"}})
	if err != nil {
		t.Fatal(err)
	}
	later := sample.Later().Machines[0]
	for i := range rows {
		r := &rows[i]
		states, err := Within(m, []string{"process"}, r.ID(), Options{By: []string{"state"}, Sort: "sockets"})
		if err != nil {
			t.Fatal(err)
		}
		var sum Bytes
		n := 0
		for j := range states {
			n += states[j].Sockets
			sum.add(&states[j].Bytes)
			if j > 0 && states[j].Sockets > states[j-1].Sockets {
				t.Errorf("%s: states are not sorted by sockets", r.Name())
			}
		}
		if n != r.Sockets || sum != r.Bytes || len(states) != len(r.States) {
			t.Errorf("%s: %d sockets and %+v in %d states, want %d and %+v in %d", r.Name(), n, sum, len(states), r.Sockets, r.Bytes,
				len(r.States))
		}
		is, err := Of(later, []string{"process"}, r.ID())
		if err != nil {
			t.Fatal(err)
		}
		n = 0
		for j := range later.Groups {
			if is(&later.Groups[j]) {
				n += later.Groups[j].Count
			}
		}
		want := r.Sockets + map[string]int{"leaky": 900, "orphans": -37}[r.Name()]
		if n != want {
			t.Errorf("%s has %d sockets later, want %d", r.Name(), n, want)
		}
	}
	if _, err := Of(m, []string{"no such key"}, ""); err == nil {
		t.Error("a key that there is not is taken")
	}
	if _, err := Within(m, []string{"process"}, rows[0].ID(), Options{Sort: "no such order"}); err == nil {
		t.Error("an order that there is not is taken")
	}
}
