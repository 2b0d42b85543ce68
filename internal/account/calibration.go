package account

import (
	"maps"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// Calibration is what only allocation sites tell of a kernel: a look at a running host traces none, and learns it from a small
// batch of connections. It holds until the next boot.
type Calibration struct {
	// Caches are the slab caches of the object types that no cache's name leads to, as /proc/slabinfo lists them, by type.
	Caches map[string]string `json:"caches"`
	// Vectors are the kmalloc caches that slabobj_ext vectors came from, and Accounted the caches whose slabs have such a
	// vector once a memory cgroup is in use (SLAB_ACCOUNT).
	Vectors   []string `json:"vectors"`
	Accounted []string `json:"accounted"`
}

// Calibration is what the call sites have told, for others to begin with.
func (c *Caches) Calibration() Calibration {
	cal := Calibration{Caches: map[string]string{}, Vectors: slices.Sorted(maps.Keys(c.vectors)), Accounted: []string{}}
	for t, cost := range c.byType {
		if cost.Cache != "" && !c.isNamed(kernel.ObjectType(t)) {
			cal.Caches[kernel.ObjectType(t).String()] = cost.Cache
		}
	}
	for _, info := range c.byAddr {
		if info.Accounted {
			cal.Accounted = append(cal.Accounted, c.ofInfo(info).Cache)
		}
	}
	slices.Sort(cal.Accounted)
	cal.Accounted = slices.Compact(cal.Accounted)
	return cal
}

// isNamed tells whether one of the names of a type's caches leads to it.
func (c *Caches) isNamed(t kernel.ObjectType) bool {
	return slices.ContainsFunc(kernel.Types[t].Caches, func(name string) bool {
		_, ok := c.named(name)
		return ok
	})
}

// CalibratedCaches makes a finder as NewCaches does, from a calibration in place of call sites. Without one (nil) the objects that
// need it have no cache, and their bytes are left out.
func CalibratedCaches(slabs map[string]kernel.Slab, aliases map[string]string, byAddr map[uint64]kernel.CacheInfo, cal *Calibration) *Caches {
	c := NewCaches(slabs, aliases, byAddr, nil, nil)
	if cal == nil {
		return c
	}
	for t := range c.byType {
		if cost, ok := c.named(cal.Caches[kernel.ObjectType(t).String()]); ok && c.byType[t].Cache == "" {
			c.byType[t] = cost
		}
	}
	for _, name := range cal.Vectors {
		c.vectors[name] = true
	}
	for t := range c.byType {
		c.setVector(&c.byType[t], slices.Contains(cal.Accounted, c.byType[t].Cache))
	}
	return c
}
