package account

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// mixture is endpoints of both families and many states, with shared buckets of all sizes and more of one cost than
// Top has places for.
func mixture() []*kernel.Endpoint {
	var endpoints []*kernel.Endpoint
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 900 {
		e := client(i)
		if i%2 == 0 {
			e = server(i)
		}
		e.State = kernel.State(1 + random.IntN(9))
		e.Cache = []uint64{cacheTCP, cacheTCPv6, 0xdead}[random.IntN(3)]
		e.Buffers.Rmem = uint32(random.IntN(3)) * 100
		endpoints = append(endpoints, withBucket(e, uint64(1+random.IntN(60)*random.IntN(3)), false))
	}
	return endpoints
}

// record is the recording of what is told in the order that the random numbers give.
func record(t *testing.T, random *rand.Rand) []byte {
	t.Helper()
	infos := testInfos()
	infos[cacheTCP] = kernel.CacheInfo{Name: "TCP", Accounted: true}
	sites := []kernel.Site{vectorSite(128),
		{CallSite: site("do_epoll_ctl"), Cache: cacheEpi, Count: 10, Role: kernel.RoleServer},
		{CallSite: site("do_epoll_ctl"), Cache: cacheEpi, Count: 10, Free: true},
		{CallSite: site("sk_prot_alloc"), Cache: cacheTCP, Count: 10, Role: kernel.RoleClient},
		{CallSite: site("vfs_read"), Cache: cacheFilp, Count: 10, Role: kernel.RoleClient},
		{CallSite: site("alloc_inode"), Cache: cacheFilp, Count: 10, Role: kernel.RoleClient}}
	samples := append(socketSamples(), socketSamples()...)
	endpoints := mixture()
	random.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	random.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
	random.Shuffle(len(sites), func(i, j int) { sites[i], sites[j] = sites[j], sites[i] })

	c := NewCaches(testSlabs(), testAliases(), infos, sites, testSymbols())
	l := NewLedger(0)
	for _, s := range samples {
		l.Sampled(s)
	}
	l.Visit(listener(), c)
	for _, e := range endpoints {
		l.Visit(e, c)
	}
	r := &recording.Machine{}
	l.Fill(r, evidence(c, sites...))
	out, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheOrderOfTheInputDoesNotShowInTheRecording(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	first := record(t, random)
	for range 30 {
		if next := record(t, random); !bytes.Equal(first, next) {
			a, b := difference(first, next)
			t.Fatalf("two recordings of the same facts differ:\n%s\nand\n%s", a, b)
		}
	}
}

// difference is where two texts part, with some lines after it.
func difference(a, b []byte) (string, string) {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	start := max(0, at-200)
	return string(a[start:min(at+100, len(a))]), string(b[start:min(at+100, len(b))])
}

// tenths are endpoints that own 7/10, 1/5 and 3/5 of three buckets. That is 1.5, or a little less, by the order of the
// additions.
func tenths(caches ...uint64) []*kernel.Endpoint {
	var endpoints []*kernel.Endpoint
	for bucket, share := range [][2]int{{7, 10}, {1, 5}, {3, 5}} {
		for i := range share[1] {
			e := client(100*bucket + i)
			e.Cache = caches[bucket]
			if i >= share[0] {
				e.State = kernel.StateTimeWait
			}
			endpoints = append(endpoints, withBucket(e, uint64(0xb0+bucket), false))
		}
	}
	return endpoints
}

func TestSharesSumUpTheSameInEveryOrder(t *testing.T) {
	for name, caches := range map[string][]uint64{"socks of one cache": {cacheTCP, cacheTCP, cacheTCP},
		"socks of three": {cacheTCP, cacheTCPv6, cacheTW}} {
		var first recording.ObjectRow
		for i := range 50 {
			r := filled(testCaches(), tenths(caches...)...)
			next := objectOf(rowOf(t, r, kernel.RoleClient, "ESTABLISHED"), kernel.BindBucket)
			if i == 0 {
				first = next
			}
			if next != first {
				t.Fatalf("%s: %+v, then %+v", name, first, next)
			}
		}
	}
}
