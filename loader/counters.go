package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// Counters are the programs' own counts since they were attached, summed over all CPUs. Events that found the ring full,
// updates that a map had no place for, and stacks that were not whole are lost.
type Counters struct {
	Events, RingFull, MapFull, StackFailures uint64
	ConnectCalls, Accepts                    uint64 // by the connect and accept hooks' own programs
	StateChanges, SynSent                    uint64
	ClientEstablished, ServerEstablished     uint64
	Destroyed                                uint64
	// RecursionMisses is how often the kernel left a program out because it was running on that CPU already.
	// FreeMisses is the same for the program that counts frees, on which no figure of the account rests: RCU
	// callbacks free whole batches in the middle of another free.
	RecursionMisses, FreeMisses uint64
}

// Counters reads the counters. What belongs to a hook that is not loaded is 0.
func (p *Probes) Counters() (Counters, error) {
	var sum Counters
	var perCPU []bpf.StateCpuCounters
	if err := p.shared[bpf.StateMapCounters].Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read map %s: %w", bpf.StateMapCounters, err)
	}
	for _, c := range perCPU {
		sum.Events += c.Events
		sum.RingFull += c.RingFull
		sum.MapFull += c.MapFull
		sum.StackFailures += c.StackFailures
		sum.ConnectCalls += c.ConnectCalls
		sum.Accepts += c.Accepts
		sum.StateChanges += c.StateChanges
		sum.SynSent += c.SynSent
		sum.ClientEstablished += c.ClientEstablished
		sum.ServerEstablished += c.ServerEstablished
		sum.Destroyed += c.Destroyed
	}
	return sum, p.addMisses(&sum)
}

// addMisses reads what the kernel counts for each program; kernels before 5.12 do not.
func (p *Probes) addMisses(sum *Counters) error {
	for _, c := range p.collections {
		for name, prog := range c.Programs {
			stats, err := prog.Stats()
			if errors.Is(err, ebpf.ErrNotSupported) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read statistics of program %s: %w", name, err)
			}
			if name == bpf.SlabProgFreeObject {
				sum.FreeMisses += stats.RecursionMisses
			} else {
				sum.RecursionMisses += stats.RecursionMisses
			}
		}
	}
	return nil
}

// Sites reads the call sites' counters, summed over all CPUs, in no particular order, and how many events found no place
// among them. Without the slab hook it is a *NotLoadedError.
func (p *Probes) Sites() ([]kernel.Site, uint64, error) {
	if p.slab == nil {
		return nil, 0, &NotLoadedError{kernel.HookSlab}
	}
	var perCPU []bpf.SlabSiteTable
	if err := p.shared[bpf.SlabMapSites].Lookup(uint32(0), &perCPU); err != nil {
		return nil, 0, fmt.Errorf("read map %s: %w", bpf.SlabMapSites, err)
	}
	sums := map[kernel.Site]uint64{}
	var full uint64
	for i := range perCPU {
		full += perCPU[i].Full
		if perCPU[i].Unnamed != 0 { // a cache whose name is still to be written down
			full++
		}
		for _, s := range perCPU[i].Sites {
			if s.CallSite != 0 {
				sums[site(s)] += s.Count
			}
		}
	}
	sites := make([]kernel.Site, 0, len(sums))
	for s, n := range sums {
		s.Count = n
		sites = append(sites, s)
	}
	return sites, full, nil
}

func site(s bpf.SlabSite) kernel.Site {
	return kernel.Site{CallSite: s.CallSite, Cache: s.Cache, Role: kernel.Role(s.Role),
		Free:    s.Kind&bpf.SlabSiteKindSITE_FREE != 0,
		Kmalloc: s.Kind&bpf.SlabSiteKindSITE_KMALLOC != 0,
		Atomic:  s.Kind&bpf.SlabSiteKindSITE_ATOMIC != 0,
		Sized:   s.Kind&bpf.SlabSiteKindSITE_SIZED != 0}
}

// Caches lists the slab caches met so far, by the address of their struct kmem_cache.
func (p *Probes) Caches() (map[uint64]kernel.CacheInfo, error) {
	caches := map[uint64]kernel.CacheInfo{}
	var key uint64
	var info bpf.WalkCacheInfo
	entries := p.shared[bpf.WalkMapCaches].Iterate()
	for entries.Next(&key, &info) {
		name := make([]byte, 0, len(info.Name))
		for _, c := range info.Name {
			name = append(name, byte(c))
		}
		caches[key] = kernel.CacheInfo{Name: unix.ByteSliceToString(name), SizeBytes: info.Size,
			ObjectBytes: info.ObjectSize, ObjectsPerSlab: info.Oo & 0xffff, PagesPerSlab: 1 << (info.Oo >> 16),
			Accounted: info.Flags&p.accountFlag != 0}
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read map %s: %w", bpf.WalkMapCaches, err)
	}
	return caches, nil
}

// MapBytes is the memory that the kernel charges for all BPF maps.
func (p *Probes) MapBytes() (uint64, error) {
	var sum uint64
	counted := map[*ebpf.Map]bool{}
	add := func(m *ebpf.Map) error {
		if counted[m] {
			return nil
		}
		counted[m] = true
		info, err := m.Info()
		if err != nil {
			return fmt.Errorf("read map info: %w", err)
		}
		n, _ := info.Memlock()
		if m.Type() == ebpf.RingBuf {
			n = max(n, uint64(m.MaxEntries())) // kernels before 6.4 leave the ring out
		}
		sum += n
		return nil
	}
	for _, m := range p.shared {
		if err := add(m); err != nil {
			return 0, err
		}
	}
	for _, c := range p.collections {
		for name, m := range c.Maps {
			if p.shared[name] != nil {
				continue // the collection holds a duplicate of the shared map
			}
			if err := add(m); err != nil {
				return 0, err
			}
		}
	}
	return sum, nil
}
