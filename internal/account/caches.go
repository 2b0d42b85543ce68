package account

import (
	"fmt"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// ObjectCost is what one object of a type occupies.
type ObjectCost struct {
	Cache       string  // as /proc/slabinfo lists it
	ObjectBytes uint64  // from one object to the next
	PageBytes   float64 // its share of the slab's pages
	PerSlab     uint64  // objects that share a slab
	// Vector is the cache of the slab's slabobj_ext vector, empty where it has none.
	Vector string
	// PageBytes and ObjectBytes with the object's share of that vector.
	withVector, objectWithVector float64
}

// Caches finds the slab cache behind an object, by its type or by the address of its struct kmem_cache.
type Caches struct {
	slabs   map[string]kernel.Slab
	aliases map[string]string
	byAddr  map[uint64]kernel.CacheInfo
	byType  [kernel.NumObjectTypes]ObjectCost
	known   map[sockCache]ObjectCost
	// vectors are the kmalloc caches from which slabobj_ext vectors were seen to come.
	vectors map[string]bool
	// meet gives the struct kmem_caches met by now, nil where byAddr has all.
	meet func() map[uint64]kernel.CacheInfo
}

// Meet has the struct kmem_caches that a walk goes on to meet looked up when the first endpoint needs one.
func (c *Caches) Meet(met func() map[uint64]kernel.CacheInfo) { c.meet = met }

type sockCache struct {
	address uint64
	kind    kernel.ObjectType
	v6      bool
}

// NewCaches makes a finder from /proc/slabinfo, the aliases of merged caches, the struct kmem_caches met by the
// probes, and the call sites counted, which tell the cache of a type where the names alone do not.
func NewCaches(slabs map[string]kernel.Slab, aliases map[string]string, byAddr map[uint64]kernel.CacheInfo,
	sites []kernel.Site, symbols *kernel.Symbols) *Caches {
	c := &Caches{slabs: slabs, aliases: aliases, byAddr: byAddr, known: map[sockCache]ObjectCost{}}
	for t := range kernel.Types {
		for _, name := range kernel.Types[t].Caches {
			if cost, ok := c.named(name); ok {
				c.byType[t] = cost
				break
			}
		}
	}
	c.learn(sites, symbols)
	c.findVectors(sites, symbols)
	return c
}

// named is the cost of an object in the cache that the kernel created under the given name.
func (c *Caches) named(name string) (ObjectCost, bool) {
	if listed, ok := c.aliases[name]; ok {
		name = listed
	}
	s, ok := c.slabs[name]
	if !ok {
		return ObjectCost{}, false
	}
	return costIn(s), true
}

func costIn(s kernel.Slab) ObjectCost {
	return ObjectCost{Cache: s.Name, ObjectBytes: s.ObjectBytes, PageBytes: s.PageBytesEach(), PerSlab: s.ObjectsPerSlab}
}

// vectorEntryBytes is the size of a struct slabobj_ext (obj_cgroup pointer before 6.10), one for each object.
const vectorEntryBytes = 8

// findVectors finds out which caches have slabobj_ext vectors. That depends on whether any memory cgroup is in use,
// so it is taken from what was seen: an accounted cache has them if vectors of its size were allocated.
func (c *Caches) findVectors(sites []kernel.Site, symbols *kernel.Symbols) {
	c.vectors = map[string]bool{}
	for _, s := range sites {
		if !s.Free && s.Kmalloc && slices.Contains(kernel.TypesAt(symbols.Function(s.CallSite)), kernel.SlabObjExt) {
			c.vectors[kmallocName(s.Cache)] = true
		}
	}
	accounted := map[string]bool{}
	for _, info := range c.byAddr {
		if info.Accounted {
			accounted[c.ofInfo(info).Cache] = true
		}
	}
	for t := range c.byType {
		c.setVector(&c.byType[t], accounted[c.byType[t].Cache])
	}
}

func (c *Caches) setVector(cost *ObjectCost, accounted bool) {
	name := kmallocName(kmallocSize(cost.PerSlab * vectorEntryBytes))
	if accounted && c.vectors[name] {
		cost.Vector = name
	}
	vector, share := c.vectorShare(*cost)
	cost.withVector = cost.PageBytes + share*vector.PageBytes
	cost.objectWithVector = float64(cost.ObjectBytes) + share*float64(vector.ObjectBytes)
}

// vectorOf is the cache of a cache's slabobj_ext vectors, empty where it has none.
func (c *Caches) vectorOf(cache string) string {
	for _, cost := range c.byType {
		if cost.Cache == cache {
			return cost.Vector
		}
	}
	for _, cost := range c.known {
		if cost.Cache == cache {
			return cost.Vector
		}
	}
	return ""
}

// vectorShare is one object's share of its slab's slabobj_ext vector: a fraction of an object and what that costs.
func (c *Caches) vectorShare(cost ObjectCost) (ObjectCost, float64) {
	if cost.Vector == "" {
		return ObjectCost{}, 0
	}
	vector, ok := c.named(cost.Vector)
	if !ok {
		return ObjectCost{}, 0
	}
	return vector, 1 / float64(cost.PerSlab)
}

// learn fills in the types whose cache no name led to, from the call sites that allocate them: first from the functions that
// allocate one type, then from those of whose types one is left.
func (c *Caches) learn(sites []kernel.Site, symbols *kernel.Symbols) {
	c.learnFrom(sites, func(s kernel.Site) []kernel.ObjectType { return kernel.TypesAt(symbols.Function(s.CallSite)) })
	c.learnFrom(sites, func(s kernel.Site) []kernel.ObjectType {
		return slices.DeleteFunc(slices.Clone(kernel.TypesAt(symbols.Function(s.CallSite))),
			func(t kernel.ObjectType) bool { return c.byType[t].Cache != "" })
	})
}

// learnFrom takes the cache of the call sites that allocate one type, which has none yet. Where a function allocates for other
// users too (lsm_blob_alloc), the run's endpoints are most of what it allocates.
func (c *Caches) learnFrom(sites []kernel.Site, typesOf func(kernel.Site) []kernel.ObjectType) {
	counts := map[kernel.ObjectType]map[ObjectCost]uint64{}
	for _, s := range sites {
		if s.Free {
			continue
		}
		types := typesOf(s)
		if len(types) != 1 || c.byType[types[0]].Cache != "" {
			continue
		}
		if cost, ok := c.ofSite(s); ok {
			if counts[types[0]] == nil {
				counts[types[0]] = map[ObjectCost]uint64{}
			}
			counts[types[0]][cost] += s.Count
		}
	}
	for t, byCost := range counts {
		most := uint64(0)
		for cost, n := range byCost {
			if n > most || n == most && cost.Cache < c.byType[t].Cache {
				c.byType[t], most = cost, n
			}
		}
	}
}

// ofSite is the cost of the objects that a call site allocates.
func (c *Caches) ofSite(s kernel.Site) (ObjectCost, bool) {
	switch {
	case s.Kmalloc:
		return c.named(kmallocName(s.Cache))
	case s.Sized:
		return ObjectCost{}, false
	}
	info, ok := c.byAddr[s.Cache]
	if !ok {
		return ObjectCost{}, false
	}
	return c.ofInfo(info), true
}

// ofInfo prefers what /proc/slabinfo says and falls back on the struct itself.
func (c *Caches) ofInfo(info kernel.CacheInfo) ObjectCost {
	if cost, ok := c.named(info.Name); ok {
		return cost
	}
	s := kernel.Slab{Name: info.Name, ObjectBytes: uint64(info.SizeBytes), ObjectsPerSlab: uint64(info.ObjectsPerSlab),
		PagesPerSlab: uint64(info.PagesPerSlab)}
	return costIn(s)
}

// kmallocSize is the size of the kmalloc cache that serves a request: powers of two from 8 on, 96 and 192.
func kmallocSize(bytes uint64) uint64 {
	size := uint64(8)
	for size < bytes {
		size *= 2
	}
	if size == 128 && bytes <= 96 {
		return 96
	}
	if size == 256 && bytes <= 192 {
		return 192
	}
	return size
}

// kmallocName is the cache that serves allocations of the given rounded size.
func kmallocName(bytes uint64) string {
	if bytes >= 1024 {
		return fmt.Sprintf("kmalloc-%dk", bytes/1024)
	}
	return fmt.Sprintf("kmalloc-%d", bytes)
}

// Of is the cost of one object of type t on the endpoint. The struct sock itself brings the address of its cache;
// the other objects are known by their type.
func (c *Caches) Of(t kernel.ObjectType, e *kernel.Endpoint) ObjectCost {
	switch t {
	case kernel.TCPSock, kernel.RequestSock, kernel.TimewaitSock:
		address := e.Cache
		if t == kernel.RequestSock && e.State != kernel.StateNewSynRecv {
			address = 0 // it waits in an accept queue with a sock, whose cache that is
		}
		return c.ofSock(sockCache{address, t, e.Local.Addr().Is6()})
	}
	if t == kernel.SKBHead && e.SKBHeadBytes > 0 {
		return c.ofHead(uint64(e.SKBHeadBytes))
	}
	return c.byType[t]
}

// ofHead is the cost of an sk_buff's head. Small ones have a cache of their own since bf9f1baa279f (6.3), which serves
// just one size.
func (c *Caches) ofHead(bytes uint64) ObjectCost {
	if small := c.byType[kernel.SKBHead]; small.Cache != "" && bytes <= small.ObjectBytes && bytes+64 > small.ObjectBytes {
		return small
	}
	cost, _ := c.named(kmallocName(kmallocSize(bytes)))
	return cost
}

func (c *Caches) ofSock(key sockCache) ObjectCost {
	if cost, ok := c.known[key]; ok {
		return cost
	}
	cost := c.byType[key.kind]
	if _, ok := c.byAddr[key.address]; !ok && c.meet != nil {
		c.byAddr = c.meet()
	}
	if info, ok := c.byAddr[key.address]; ok {
		cost = c.ofInfo(info)
		c.setVector(&cost, info.Accounted)
	} else if names := kernel.Types[key.kind].Caches; key.v6 && len(names) > 1 {
		if v6, ok := c.named(names[1]); ok {
			cost = v6
		}
	}
	c.known[key] = cost
	return cost
}

// TypeOf is the type of object that a call site allocates. A function that allocates several types tells them apart
// by their caches; one that allocates for many users (sk_prot_alloc) counts only where the cache is the type's.
func (c *Caches) TypeOf(function string, s kernel.Site) (kernel.ObjectType, bool) {
	for _, t := range kernel.TypesAt(function) {
		if s.Kmalloc != (len(kernel.Types[t].Caches) == 0) {
			continue
		}
		if s.Kmalloc && c.learnt(t, s) || !s.Kmalloc && c.serves(t, s) {
			return t, true
		}
	}
	return 0, false
}

// learnt tells whether an allocation from kmalloc has the size that the type was learnt to have. Vectors come in many.
func (c *Caches) learnt(t kernel.ObjectType, s kernel.Site) bool {
	known := c.byType[t].Cache
	return t == kernel.SlabObjExt || known == "" || known == kmallocName(s.Cache)
}

// serves tells whether the cache of an allocation is one of the type's.
func (c *Caches) serves(t kernel.ObjectType, s kernel.Site) bool {
	if s.Sized {
		return slices.ContainsFunc(kernel.Types[t].Caches, func(name string) bool {
			cost, ok := c.named(name)
			return ok && cost.ObjectBytes == s.Cache
		})
	}
	info, ok := c.byAddr[s.Cache]
	if !ok {
		return false
	}
	listed := c.ofInfo(info).Cache
	return listed == c.byType[t].Cache || slices.ContainsFunc(kernel.Types[t].Caches, func(name string) bool {
		cost, ok := c.named(name)
		return ok && cost.Cache == listed
	})
}

// SiteCache names the cache behind a call site for people.
func (c *Caches) SiteCache(s kernel.Site) string {
	if cost, ok := c.ofSite(s); ok {
		return cost.Cache
	}
	if s.Kmalloc {
		return kmallocName(s.Cache)
	}
	if s.Sized && s.Cache > 0 {
		return fmt.Sprintf("%d-byte cache", s.Cache)
	}
	return ""
}
