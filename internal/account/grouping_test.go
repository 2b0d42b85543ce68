package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Three network namespaces: two containers with the same address, and the host.
const (
	netnsA uint32 = 4026532001 + iota
	netnsB
	netnsHost
)

var containerAddress, none = netip.MustParseAddrPort("172.17.0.2:80"), netip.MustParseAddrPort("0.0.0.0:0")

// world is a made-up host: endpoints and who has their files.
type world struct {
	listeners, endpoints []*kernel.Endpoint
	owners               OwnersByFile
	socks                uint64
}

// add enters an endpoint, with a sock and, if anybody has it, a file of its own.
func (w *world) add(netns uint32, owner *Owner, e *kernel.Endpoint, local, remote netip.AddrPort) *kernel.Endpoint {
	w.socks++
	e.Netns, e.Sock, e.Local, e.Remote = netns, 0xffff8887_00000000+w.socks*4096, local, remote
	if e.File != 0 {
		e.File = 0xffff8888_00000000 + w.socks*256
		if owner != nil {
			w.owners[e.File] = owner
		}
	}
	if e.State == kernel.StateListen {
		w.listeners = append(w.listeners, e)
	} else {
		w.endpoints = append(w.endpoints, e)
	}
	return e
}

var (
	nginx  = &Owner{PIDs: []int{100, 101, 102}, Comm: "nginx", UID: 33, Cgroup: "/docker/a", Container: "a"}
	caddy  = &Owner{PIDs: []int{200}, Comm: "caddy", Cgroup: "/docker/b", Container: "b"}
	wrk    = &Owner{PIDs: []int{300}, Comm: "wrk", UID: 1000, Cgroup: "/user.slice"}
	nobody *Owner
)

func from(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("172.17.0.1"), uint16(40000+i))
}

// container adds a server with ten accepted ends, three that wait, two requests and one in TIME_WAIT.
func (w *world) container(netns uint32, owner *Owner) {
	w.add(netns, owner, listener(), containerAddress, none)
	for i := range 16 {
		end, has := server(i), nobody
		switch {
		case i < 10:
			has = owner
		case i < 13:
			withoutSocket(end).Objects[kernel.RequestSock] = 1
		case i < 15:
			requested(end)
		default:
			inTimeWait(end)
		}
		e := w.add(netns, has, end, containerAddress, from(i))
		e.Buffers = kernel.Buffers{Rmem: 1000, Wmem: 10, Option: 1, Backlog: 5}
		if e.State != kernel.StateNewSynRecv {
			withBucket(e, 0xb00000+uint64(netns), false) // their listener's
		}
	}
}

func newWorld() *world {
	w := &world{owners: OwnersByFile{}}
	w.container(netnsA, nginx)
	w.container(netnsB, caddy)
	for i := range 20 {
		w.add(netnsHost, wrk, withBucket(client(i), 0xc0+uint64(i%7), false), from(i), containerAddress)
	}
	gone := netip.MustParseAddrPort("10.0.0.9:9000")
	w.add(netnsHost, wrk, withBucket(server(30), 0xc0, false), gone, from(30)) // its listener is gone
	w.add(netnsHost, nobody, inTimeWait(server(31)), gone, from(31))
	w.add(netnsHost, nobody, finWait(orphaned(client(32))), from(32), gone)
	w.add(netnsHost, nobody, client(33), from(33), gone) // in flight
	w.add(netnsHost, wrk, inState(unmarked(client(34)), kernel.StateClose), none, none)
	kernels := w.add(netnsHost, nobody, client(35), from(35), gone)
	kernels.File = 0
	return w
}

// by is everything that an account can be divided by.
func (w *world) by() Grouping {
	return Grouping{Owners: w.owners, Netns: true, Listener: true, Service: true}
}

// walk is the account of a walk over the world, divided.
func (w *world) walk(by Grouping) *recording.Machine {
	c, l := testCaches(), NewLedger(0)
	l.GroupBy(by)
	for _, e := range slices.Concat(w.listeners, w.endpoints) {
		l.Visit(e, c)
	}
	r := &recording.Machine{}
	l.Fill(r, evidence(c))
	return r
}

func describe(g recording.Group) string {
	return fmt.Sprintf("%d %s %s/%d %v %s at %q to %q", g.Netns, g.Owner, g.Comm, g.PID, g.Role, g.State, g.Listener, g.Service)
}

func TestEveryEndpointOfThreeNamespacesIsInTheGroupOfItsOwner(t *testing.T) {
	want := map[string]int{}
	for netns, server := range map[uint32]string{netnsA: "nginx/100", netnsB: "caddy/200"} {
		at := ` at "172.17.0.2:80" to ""`
		want[fmt.Sprint(netns, " process ", server, " listener LISTEN", at)] = 1
		want[fmt.Sprint(netns, " process ", server, " server ESTABLISHED", at)] = 10
		want[fmt.Sprint(netns, " accept_queue /0 server ESTABLISHED", at)] = 3
		want[fmt.Sprint(netns, " request /0 server SYN_RECV", at)] = 2
		want[fmt.Sprint(netns, " time_wait /0 server TIME_WAIT", at)] = 1
	}
	const host = "4026532003"
	for group, count := range map[string]int{
		` process wrk/300 client ESTABLISHED at "" to "172.17.0.2:80"`: 20,
		` process wrk/300 server ESTABLISHED at "10.0.0.9:9000" to ""`: 1,
		` time_wait /0 unknown TIME_WAIT at "" to ""`:                  1,
		` orphan /0 client FIN_WAIT2 at "" to "10.0.0.9:9000"`:         1,
		` in_flight /0 client ESTABLISHED at "" to "10.0.0.9:9000"`:    1,
		` kernel /0 client ESTABLISHED at "" to "10.0.0.9:9000"`:       1,
		` process wrk/300 unknown CLOSE at "" to ""`:                   1,
	} {
		want[host+group] = count
	}
	w := newWorld()
	got := map[string]int{}
	for _, g := range w.walk(w.by()).Groups {
		if got[describe(g)] != 0 {
			t.Errorf("two groups are %s", describe(g))
		}
		got[describe(g)] = g.Count
	}
	for group, count := range want {
		if got[group] != count {
			t.Errorf("%d of %s, want %d", got[group], group, count)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d groups, want %d: %v", len(got), len(want), got)
	}
}

func TestAFileOfSeveralProcessesCountsOnceAndListsThem(t *testing.T) {
	w := newWorld()
	n := 0
	for _, g := range w.walk(Grouping{Owners: w.owners}).Groups {
		if g.Comm != "nginx" {
			continue
		}
		n += g.Count
		if g.PID != 100 || !slices.Equal(g.PIDs, nginx.PIDs) || g.UID != 33 || g.Cgroup != "/docker/a" || g.Container != "a" {
			t.Errorf("%+v, want the three processes of container a", g)
		}
	}
	if n != 11 {
		t.Errorf("nginx has %d endpoints, want its listener and 10", n)
	}
}

func TestAccountsAreDividedByWhatIsAskedForAlone(t *testing.T) {
	w := newWorld()
	tests := map[string]struct {
		by   Grouping
		want map[string]int // of established servers' ends
	}{
		"nothing": {Grouping{}, map[string]int{}},
		"netns": {Grouping{Netns: true}, map[string]int{`4026532001  /0 server ESTABLISHED at "" to ""`: 13,
			`4026532002  /0 server ESTABLISHED at "" to ""`: 13, `4026532003  /0 server ESTABLISHED at "" to ""`: 1}},
		"listener": {Grouping{Listener: true}, map[string]int{`0  /0 server ESTABLISHED at "172.17.0.2:80" to ""`: 26,
			`0  /0 server ESTABLISHED at "10.0.0.9:9000" to ""`: 1}},
		"service": {Grouping{Service: true}, map[string]int{`0  /0 server ESTABLISHED at "" to ""`: 27}},
		// Whose accept queue it is is all there is to say of the owner.
		"owner": {Grouping{Owners: w.owners}, map[string]int{`0 process nginx/100 server ESTABLISHED at "" to ""`: 10,
			`0 process caddy/200 server ESTABLISHED at "" to ""`:                     10,
			`0 process wrk/300 server ESTABLISHED at "" to ""`:                       1,
			`4026532001 accept_queue /0 server ESTABLISHED at "172.17.0.2:80" to ""`: 3,
			`4026532002 accept_queue /0 server ESTABLISHED at "172.17.0.2:80" to ""`: 3}},
	}
	for name, test := range tests {
		got := map[string]int{}
		for _, g := range w.walk(test.by).Groups {
			if g.Role == kernel.RoleServer && g.State == "ESTABLISHED" {
				got[describe(g)] = g.Count
			}
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("by %s: %v, want %v", name, got, test.want)
		}
	}
}

// checkSums asks that the groups add up to the rows of the account.
func checkSums(t *testing.T, r *recording.Machine) {
	t.Helper()
	type sums struct {
		count                int
		object, page, buffer uint64
	}
	got, want := map[string]sums{}, map[string]sums{}
	for _, row := range r.Endpoints {
		want[fmt.Sprint(row.Role, row.State)] = sums{row.Count, row.ObjectBytes, row.PageBytes, row.BufferBytes}
	}
	for _, g := range r.Groups {
		s := got[fmt.Sprint(g.Role, g.State)]
		got[fmt.Sprint(g.Role, g.State)] = sums{s.count + g.Count, s.object + g.ObjectBytes, s.page + g.PageBytes,
			s.buffer + g.BufferBytes}
		if g.RxBytes+g.TxBytes > g.BufferBytes {
			t.Errorf("%s: %d received and %d to send, of %d", describe(g), g.RxBytes, g.TxBytes, g.BufferBytes)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the groups add up to\n%v, the rows are\n%v", got, want)
	}
}

// crowd is endpoints of many owners and namespaces, with shared buckets of all sizes.
func crowd() *world {
	w := &world{owners: OwnersByFile{}}
	random := rand.New(rand.NewPCG(5, 6))
	owners := make([]*Owner, 40)
	for i := range owners {
		owners[i] = &Owner{PIDs: []int{1000 + i}, Comm: fmt.Sprint("worker", i)}
	}
	for _, e := range mixture() {
		netns := netnsA + uint32(random.IntN(3))
		w.add(netns, owners[random.IntN(40)*random.IntN(2)], e, e.Local, e.Remote)
	}
	w.add(netnsA, owners[1], listener(), serverAddress, none)
	return w
}

func TestGroupsAddUpToTheAccountToTheByte(t *testing.T) {
	for name, w := range map[string]*world{"three namespaces": newWorld(), "a crowd": crowd()} {
		t.Run(name, func(t *testing.T) {
			for _, most := range []int{0, 1, 2, 7, 50} {
				by := w.by()
				by.Most = most
				checkSums(t, w.walk(by))
			}
		})
	}
}

func TestGroupsChangeNothingElseOfTheAccount(t *testing.T) {
	w := crowd()
	divided, whole := w.walk(w.by()), w.walk(Grouping{})
	if len(divided.Groups) < 100 || whole.Groups != nil {
		t.Errorf("%d and %d groups, want many and none", len(divided.Groups), len(whole.Groups))
	}
	divided.Groups = nil
	for _, r := range []*recording.Machine{divided, whole} {
		for i := range r.Top {
			r.Top[i].PID, r.Top[i].Comm, r.Top[i].Owner = 0, "", ""
		}
	}
	if !reflect.DeepEqual(divided, whole) {
		t.Errorf("divided\n%+v, whole\n%+v", divided, whole)
	}
}

func TestTheOrderOfTheWalkDoesNotShowInTheGroups(t *testing.T) {
	w := crowd()
	by := w.by()
	by.Most = 60
	random := rand.New(rand.NewPCG(7, 8))
	var first []byte
	for range 20 {
		random.Shuffle(len(w.endpoints), func(i, j int) { w.endpoints[i], w.endpoints[j] = w.endpoints[j], w.endpoints[i] })
		next, err := json.MarshalIndent(w.walk(by), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = next
		}
		if !bytes.Equal(first, next) {
			a, b := difference(first, next)
			t.Fatalf("two recordings of the same facts differ:\n%s\nand\n%s", a, b)
		}
	}
}
