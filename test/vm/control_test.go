package vm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// ownCaches names the cache that the kernel creates for each type, which is where its objects are when nothing is
// merged. Read in the kernel source and not taken from the program, whose opinion is what is tested.
var ownCaches = map[string]string{
	"tcp_sock":          "TCP",              // proto_register(), net/core/sock.c
	"socket_alloc":      "sock_inode_cache", // net/socket.c
	"file":              "filp",             // fs/file_table.c
	"dentry":            "dentry",           // fs/dcache.c
	"lsm_inode":         "lsm_inode_cache",  // security/security.c
	"lsm_file":          "lsm_file_cache",   // security/security.c
	"epitem":            "eventpoll_epi",    // fs/eventpoll.c
	"eppoll_entry":      "eventpoll_pwq",    // fs/eventpoll.c
	"epitems_head":      "ep_head",          // fs/eventpoll.c
	"inet_bind_bucket":  "tcp_bind_bucket",  // net/ipv4/tcp.c
	"inet_bind2_bucket": "tcp_bind2_bucket", // net/ipv4/tcp.c
}

// kmallocTypes have no cache of their own: with or without merging they share one with whoever calls kmalloc.
var kmallocTypes = []string{"lsm_sock", "slabobj_ext"}

// onlyTCP are the caches that nothing but a TCP socket uses. In the others the processes of the two runs have objects of
// their own.
var onlyTCP = []string{"TCP", "tcp_bind_bucket", "tcp_bind2_bucket"}

const (
	kmallocPrefix = "kmalloc-"
	// processSlack is how many objects the processes of one run may have more than those of the other, such as an epitem
	// of the Go runtime's. None is the rule.
	processSlack = 8
	// kmallocSlack is the same for kmalloc's caches, which the whole machine uses. 3 were seen.
	kmallocSlack = 40
)

// census is what a run recorded and how many objects each cache held at that time.
type census struct {
	machine *recording.Machine
	objects map[string]int
}

// named is an account and how an error calls it.
type named struct {
	name string
	*recording.Machine
}

// checkSameAccount wants two accounts with the same objects: by role, state and type the same count and bytes.
func checkSameAccount(one, other named) error {
	a, b := objectsOf(one.Machine), objectsOf(other.Machine)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if a[key] != b[key] {
			errs = append(errs, fmt.Errorf("%s: %+v %s, %+v %s", key, a[key], one.name, b[key], other.name))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[key]; !ok {
			errs = append(errs, fmt.Errorf("%s: none %s, %+v %s", key, one.name, b[key], other.name))
		}
	}
	return errors.Join(errs...)
}

// checkMerging wants the same account with merging and without.
func checkMerging(with, without census) error {
	return checkSameAccount(named{"merged", with.machine}, named{"not merged", without.machine})
}

type amount struct {
	count                  int
	objectBytes, pageBytes uint64
}

// objectsOf is the account without the names of the caches, which are the one thing that merging may change.
func objectsOf(m *recording.Machine) map[string]amount {
	all := map[string]amount{}
	for _, row := range m.Endpoints {
		name := row.Role.String() + " " + row.State
		all[name] = amount{row.Count, row.ObjectBytes, row.PageBytes}
		for _, o := range row.Objects {
			sum := all[name+" "+o.Type]
			all[name+" "+o.Type] = amount{sum.count + o.Count, sum.objectBytes + o.ObjectBytes, sum.pageBytes + o.PageBytes}
		}
	}
	return all
}

// checkOwnCaches wants each type under the name of its own cache.
func checkOwnCaches(m *recording.Machine) error {
	var errs []error
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			want, own := ownCaches[o.Type]
			switch {
			case own && o.Cache != want:
				errs = append(errs, fmt.Errorf("%s %s %s: cache %q, its own is %q", row.Role, row.State, o.Type, o.Cache, want))
			case !own && !slices.Contains(kmallocTypes, o.Type):
				errs = append(errs, fmt.Errorf("%s %s %s: no cache is known for it: add it to ownCaches", row.Role, row.State, o.Type))
			case !own && !strings.HasPrefix(o.Cache, kmallocPrefix):
				errs = append(errs, fmt.Errorf("%s %s %s: cache %q, want one of kmalloc's", row.Role, row.State, o.Type, o.Cache))
			}
		}
	}
	return errors.Join(errs...)
}

// mergedTypes lists the types that the account found under another name than their own cache's.
func mergedTypes(m *recording.Machine) []string {
	found := map[string]bool{}
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			if own, ok := ownCaches[o.Type]; ok && o.Cache != own {
				found[o.Type] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// checkCensus holds what a large run has more than a small one in the account against the same in the caches. The
// difference leaves out what the processes and the rest of the machine have. A cache must have grown by what the
// account has in it; one that the account does not know must not have grown with the connections.
func checkCensus(small, large census) error {
	accounted := byCache(large.machine)
	for cache, n := range byCache(small.machine) {
		accounted[cache] -= n
	}
	conns := large.machine.Load.Established - small.machine.Load.Established
	var errs []error
	for _, cache := range slices.Sorted(maps.Keys(large.objects)) {
		grown := large.objects[cache] - small.objects[cache]
		n, known := accounted[cache]
		slack := slackOf(cache, known, conns)
		if apart := grown - n; apart > slack || apart < -slack {
			errs = append(errs, fmt.Errorf("cache %s: %d objects more for %d connections more, the account has %d (at most %d apart)",
				cache, grown, conns, n, slack))
		}
	}
	for _, cache := range slices.Sorted(maps.Keys(accounted)) {
		if _, ok := large.objects[cache]; !ok {
			errs = append(errs, fmt.Errorf("cache %q: the account has %d objects there, and there is no such cache", cache, accounted[cache]))
		}
	}
	return errors.Join(errs...)
}

// slackOf is how far a cache and the account may be apart, in objects.
func slackOf(cache string, known bool, conns int) int {
	switch {
	case !known:
		// A CPU that takes one slab of kmalloc-8 has 512 places; a type we missed is on each connection.
		return conns / 4
	case strings.HasPrefix(cache, kmallocPrefix):
		return kmallocSlack
	case slices.Contains(onlyTCP, cache):
		return 0
	}
	return processSlack
}

func byCache(m *recording.Machine) map[string]int {
	sums := map[string]int{}
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			sums[o.Cache] += o.Count
		}
	}
	return sums
}

// goodCensus is what a run with n connections on a machine without merging should give.
func goodCensus(n int) census {
	c := census{machine: &recording.Machine{Load: &recording.Load{Established: n}}, objects: map[string]int{
		"vmap_area": 300}}
	for _, role := range check.Roles {
		row := recording.EndpointRow{Role: role, State: "ESTABLISHED", Count: n}
		for _, kind := range slices.Sorted(maps.Keys(ownCaches)) {
			row.Objects = append(row.Objects, recording.ObjectRow{Type: kind, Cache: ownCaches[kind], Count: n, ObjectBytes: 64})
		}
		row.Objects = append(row.Objects, recording.ObjectRow{Type: "lsm_sock", Cache: "kmalloc-16", Count: n})
		c.machine.Endpoints = append(c.machine.Endpoints, row)
	}
	for _, cache := range append(slices.Collect(maps.Values(ownCaches)), "kmalloc-16") {
		c.objects[cache] = 57 + 2*n
	}
	return c
}

func TestControlFindsWhatIsWrong(t *testing.T) {
	check := func(small, large census) error {
		return errors.Join(checkMerging(goodCensus(4020), large), checkOwnCaches(large.machine), checkCensus(small, large))
	}
	if err := check(goodCensus(20), goodCensus(4020)); err != nil {
		t.Errorf("a good control experiment: %v", err)
	}
	if got := mergedTypes(goodCensus(20).machine); len(got) != 0 {
		t.Errorf("merged types where nothing is merged: %v", got)
	}
	object := func(c census, kind string) *recording.ObjectRow {
		objects := c.machine.Endpoints[0].Objects
		return &objects[slices.IndexFunc(objects, func(o recording.ObjectRow) bool { return o.Type == kind })]
	}
	for name, c := range map[string]struct {
		spoil func(census)
		want  string
	}{
		"count":   {func(c census) { object(c, "file").Count-- }, "client ESTABLISHED file: {count:4020"},
		"bytes":   {func(c census) { object(c, "file").PageBytes = 9 }, "client ESTABLISHED file: {count:4020"},
		"role":    {func(c census) { c.machine.Endpoints[0].Role = kernel.RoleUnknown }, "unknown ESTABLISHED: none merged"},
		"cache":   {func(c census) { object(c, "epitem").Cache = "pid" }, `epitem: cache "pid", its own is "eventpoll_epi"`},
		"nowhere": {func(c census) { object(c, "lsm_sock").Cache = "" }, `lsm_sock: cache "", want one of kmalloc's`},
		"no such": {func(c census) { object(c, "epitem").Cache = "gone" }, `cache "gone": the account has 4020`},
		"unknown": {func(c census) { object(c, "file").Type = "cookie" }, "cookie: no cache is known"},
		"one off": {func(c census) { c.objects["TCP"] += 1 }, "cache TCP: 8001 objects more"},
		"few off": {func(c census) { c.objects["ep_head"] += 9 }, "cache ep_head: 8009 objects more"},
		"kmalloc": {func(c census) { c.objects["kmalloc-16"] += 41 }, "cache kmalloc-16: 8041 objects more"},
		"missed":  {func(c census) { c.objects["vmap_area"] += 4000 }, "cache vmap_area: 4000 objects more for 4000 connections"},
	} {
		large := goodCensus(4020)
		c.spoil(large)
		if err := check(goodCensus(20), large); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, c.want)
		}
	}
}
