package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// vectorSite is the allocation of a slabobj_ext vector from the kmalloc cache of the given size.
func vectorSite(bytes uint64) kernel.Site {
	return kernel.Site{CallSite: site("alloc_slab_obj_exts"), Cache: bytes, Kmalloc: true, Sized: true, Count: 1}
}

// accountedCaches is testCaches with TCP charged to memory cgroups: 16 objects a slab, so vectors of 128 bytes.
func accountedCaches(sites ...kernel.Site) *Caches {
	infos := testInfos()
	infos[cacheTCP] = kernel.CacheInfo{Name: "TCP", Accounted: true}
	return NewCaches(testSlabs(), testAliases(), infos, sites, testSymbols())
}

func TestVectorsAreBookedOnlyWhereTheyWereSeen(t *testing.T) {
	freed, elsewhere, cached := vectorSite(128), vectorSite(128), vectorSite(128)
	freed.Free = true
	elsewhere.CallSite = site("allocate_slab")
	cached.Kmalloc = false
	tests := []struct {
		name   string
		caches *Caches
		want   recording.ObjectRow
	}{
		{"seen, and the cache is accounted", accountedCaches(vectorSite(128)),
			objectRow("slabobj_ext", "kmalloc-128", 2, 256, 2*page/32)},
		{"none seen: no memory cgroup is in use", accountedCaches(), recording.ObjectRow{}},
		{"only of another size", accountedCaches(vectorSite(64)), recording.ObjectRow{}},
		{"only freed", accountedCaches(freed), recording.ObjectRow{}},
		{"allocated by another function", accountedCaches(elsewhere), recording.ObjectRow{}},
		{"not from kmalloc", accountedCaches(cached), recording.ObjectRow{}},
		{"the cache is not accounted", testCaches(vectorSite(128)), recording.ObjectRow{}},
	}
	var endpoints []*kernel.Endpoint
	for i := range 32 { // two slabs of TCP
		endpoints = append(endpoints, client(i))
	}
	for _, test := range tests {
		row := rowOf(t, filled(test.caches, endpoints...), kernel.RoleClient, "ESTABLISHED")
		if got := objectOf(row, kernel.SlabObjExt); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestKmallocSizesAreTheKernels(t *testing.T) {
	for request, want := range map[uint64]uint64{0: 8, 1: 8, 8: 8, 9: 16, 64: 64, 65: 96, 96: 96, 97: 128, 128: 128,
		129: 192, 192: 192, 193: 256, 256: 256, 257: 512, 1025: 2048, 8192: 8192} {
		if got := kmallocSize(request); got != want {
			t.Errorf("%d bytes come from kmalloc-%d, want %d", request, got, want)
		}
	}
	for size, want := range map[uint64]string{8: "kmalloc-8", 96: "kmalloc-96", 512: "kmalloc-512", 1024: "kmalloc-1k",
		8192: "kmalloc-8k"} {
		if got := kmallocName(size); got != want {
			t.Errorf("%d: %s, want %s", size, got, want)
		}
	}
}

// typed is the type of a site, "" for none.
func typed(c *Caches, function string, s kernel.Site) string {
	if t, ok := c.TypeOf(function, s); ok {
		return t.String()
	}
	return ""
}

func TestTypeOfASite(t *testing.T) {
	tests := []struct {
		name, function string
		site           kernel.Site
		want           string
	}{
		{"a sock from TCP", "sk_prot_alloc", kernel.Site{Cache: cacheTCP}, "tcp_sock"},
		{"a sock from TCPv6", "sk_prot_alloc", kernel.Site{Cache: cacheTCPv6}, "tcp_sock"},
		{"a sock of another protocol", "sk_prot_alloc", kernel.Site{Cache: cacheFilp}, ""},
		{"a cache nobody met", "sk_prot_alloc", kernel.Site{Cache: 0xffff888999999999}, ""},
		{"an epitem", "do_epoll_ctl", kernel.Site{Cache: cacheEpi}, "epitem"},
		{"an epitems_head from the same function", "do_epoll_ctl", kernel.Site{Cache: cacheHead}, "epitems_head"},
		{"a bind bucket from a merged cache", "inet_bind_bucket_create", kernel.Site{Cache: cacheEpi}, "inet_bind_bucket"},
		{"before 6.1, by size", "sk_prot_alloc", kernel.Site{Cache: 1900, Sized: true}, "tcp_sock"},
		{"before 6.1, IPv6", "sk_prot_alloc", kernel.Site{Cache: 2000, Sized: true}, "tcp_sock"},
		{"before 6.1, another size", "sk_prot_alloc", kernel.Site{Cache: 1024, Sized: true}, ""},
		{"kmalloc", "security_sk_alloc", kernel.Site{Cache: 64, Sized: true, Kmalloc: true}, "lsm_sock"},
		{"what has a cache does not come from kmalloc", "sk_prot_alloc", kernel.Site{Cache: 1900, Sized: true, Kmalloc: true}, ""},
		{"what comes from kmalloc has no cache", "security_sk_alloc", kernel.Site{Cache: cacheTCP}, ""},
		{"any other function", "vfs_read", kernel.Site{Cache: cacheFilp}, ""},
	}
	c := testCaches()
	for _, test := range tests {
		if got := typed(c, test.function, test.site); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestTypeOfASampleWhoseCacheMayBeASize(t *testing.T) {
	tests := []struct {
		name, function string
		cache          uint64
		want           string
	}{
		{"an address", "sk_prot_alloc", cacheTCP, "tcp_sock"},
		{"a size, before 6.1", "sk_prot_alloc", 1900, "tcp_sock"},
		{"another size", "sk_prot_alloc", 512, ""},
		{"kmalloc", "security_sk_alloc", 64, "lsm_sock"},
		{"a kmalloc function that got an address", "security_sk_alloc", cacheTCP, ""},
		{"any other function", "vfs_read", 192, ""},
	}
	c := testCaches()
	for _, test := range tests {
		got := ""
		if kind, ok := c.typeOfSample(test.function, kernel.Site{Cache: test.cache}); ok {
			got = kind.String()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestTheCacheOfAKmallocTypeIsLearntFromItsSite(t *testing.T) {
	e := client(1)
	e.Objects[kernel.LSMSock] = 1
	seen := kernel.Site{CallSite: site("security_sk_alloc"), Cache: 64, Kmalloc: true, Sized: true, Count: 1}
	row := rowOf(t, filled(testCaches(seen), e), kernel.RoleClient, "ESTABLISHED")
	if o := objectOf(row, kernel.LSMSock); o != objectRow("lsm_sock", "kmalloc-64", 1, 64, page/64) {
		t.Errorf("learnt %+v", o)
	}
	seen.Free = true
	row = rowOf(t, filled(testCaches(seen), e), kernel.RoleClient, "ESTABLISHED")
	if o := objectOf(row, kernel.LSMSock); o.Cache != "" || o.PageBytes != 0 {
		t.Errorf("learnt from a free: %+v", o)
	}
}

func TestACacheThatSlabinfoDoesNotListCostsWhatItsStructSays(t *testing.T) {
	infos := map[uint64]kernel.CacheInfo{0xffff888200000000: {Name: "SCTP_TCP", SizeBytes: 512, ObjectsPerSlab: 8,
		PagesPerSlab: 1}}
	e := client(1)
	e.Cache = 0xffff888200000000
	c := NewCaches(testSlabs(), testAliases(), infos, nil, testSymbols())
	row := rowOf(t, filled(c, e), kernel.RoleClient, "ESTABLISHED")
	if o := objectOf(row, kernel.TCPSock); o != objectRow("tcp_sock", "SCTP_TCP", 1, 512, page/8) {
		t.Errorf("%+v", o)
	}
}

func TestASitesCacheIsNamedForPeople(t *testing.T) {
	tests := map[string]kernel.Site{
		"eventpoll_epi":  {Cache: cacheEpi},
		"kmalloc-64":     {Cache: 64, Kmalloc: true, Sized: true},
		"kmalloc-2k":     {Cache: 2048, Kmalloc: true, Sized: true}, // not in slabinfo
		"320-byte cache": {Cache: 320, Sized: true},
		"":               {Cache: 0xffff888999999999},
	}
	c := testCaches()
	for want, s := range tests {
		if got := c.SiteCache(s); got != want {
			t.Errorf("%+v is named %q, want %q", s, got, want)
		}
	}
}

// On 6.18 inet_bind_bucket_create() is part of __inet_hash_connect(), where the other bucket's function may be as well.
func TestTheTypeThatIsLeftOfAFunctionIsLearntFromIt(t *testing.T) {
	sites := []kernel.Site{{CallSite: site("inet_bind2_bucket_create"), Cache: cacheEpi, Count: 20},
		{CallSite: site("__inet_hash_connect"), Cache: cacheEpi, Count: 3}}
	c := NewCaches(testSlabs(), nil, testInfos(), sites, testSymbols()) // nothing tells what caches were merged
	for i, want := range []kernel.ObjectType{kernel.Bind2Bucket, kernel.BindBucket} {
		if got := c.byType[want].Cache; got != "eventpoll_epi" {
			t.Errorf("%s is in cache %q", want, got)
		}
		if got, ok := c.TypeOf(testSymbols().Function(sites[i].CallSite), sites[i]); !ok || got != want {
			t.Errorf("what site %d allocates is %s, want %s", i, got, want)
		}
	}
	if c := NewCaches(testSlabs(), nil, testInfos(), sites[1:], testSymbols()); c.byType[kernel.BindBucket].Cache != "" {
		t.Error("of two types the first was taken")
	}
}
