package measure

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
)

// Stock reads slab memory with the counts of all caches settled, between two walks of the host's endpoints. Where others are not
// counted, it has the run's own. Where the counts cannot be settled, they are as they are: see Unsettled.
func (m *Measurement) Stock() (s account.Stock, err error) {
	s.At = time.Now()
	if s.First, err = m.sockets(); err != nil {
		return s, err
	}
	err = m.read(&s, kernel.SettleAllCounts)
	return s, err
}

// StockAtOnce is Stock as fast as it can be, before RCU frees what waits for it: without the first walk, and with the counts of those
// caches settled that endpoints have objects in.
func (m *Measurement) StockAtOnce() (s account.Stock, err error) {
	s.At, s.AtOnce = time.Now(), true
	err = m.read(&s, kernel.SettleCounts)
	s.First = s.Then
	return s, err
}

// read reads slab memory, and walks.
func (m *Measurement) read(s *account.Stock, settle func() error) error {
	m.unsettled = settle()
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return fmt.Errorf("read slab memory: %w", err)
	}
	if s.Slabs.Slabs, err = readSlabinfo(); err != nil {
		return err
	}
	s.Slabs.SlabBytes = info["Slab"]
	s.Then, err = m.sockets()
	return err
}

// Unsettled is why the counts of slab caches could not be settled when they were last read.
func (m *Measurement) Unsettled() error { return m.unsettled }

func (m *Measurement) sockets() (*account.Sockets, error) {
	s := account.NewSockets()
	if m.others == nil || m.others.err != nil {
		return s, m.Walk(func(e *kernel.Endpoint) error {
			s.Visit(e, true)
			return nil
		})
	}
	_, err := m.others.probes.WalkAll(func(e *kernel.Endpoint) error {
		s.Visit(e, m.others.measured(e))
		return nil
	})
	return s, err
}

// mostGracePeriods bounds how often RCU is waited for: what a million connections leave is freed in some dozen of them.
const mostGracePeriods = 100

// StockAfterRCU is Stock once what waits for a grace period of RCU has been freed: when one brings the objects of endpoints down no
// further. It says in the stock whether the kernel offers to wait for one.
func (m *Measurement) StockAfterRCU() (account.Stock, error) {
	last := uint64(math.MaxUint64)
	for range mostGracePeriods {
		if err := kernel.AwaitRCU(); err != nil {
			return m.Stock()
		}
		now, err := endpointObjects()
		if err != nil {
			return account.Stock{}, err
		}
		if now >= last {
			break
		}
		last = now
	}
	s, err := m.Stock()
	s.AfterRCU = true
	return s, err
}

// endpointObjects is how many objects the caches hold that endpoints have objects in.
func endpointObjects() (sum uint64, err error) {
	_ = kernel.SettleCounts() // as in ReadSlabs
	slabs, err := readSlabinfo()
	if err != nil {
		return 0, err
	}
	aliases, counted := kernel.Aliases(sysKernelSlab, slabs), map[string]bool{}
	for t := range kernel.Types {
		for _, name := range kernel.Types[t].Caches {
			if listed, ok := aliases[name]; ok {
				name = listed
			}
			if !counted[name] {
				counted[name] = true
				sum += slabs[name].ActiveObjects
			}
		}
	}
	return sum, nil
}

// StayCaches finds the caches of what is in the stocks taken so far.
func (m *Measurement) StayCaches(latest account.Snapshot) (*account.Caches, error) {
	sites, _, err := m.sites()
	if err != nil {
		return nil, err
	}
	byAddress, err := m.probes.Caches()
	if err != nil {
		return nil, err
	}
	m.others.addCaches(byAddress)
	m.aliases = kernel.Aliases(sysKernelSlab, latest.Slabs)
	return account.NewCaches(latest.Slabs, m.aliases, byAddress, since(m.begun, sites), m.symbols), nil
}

// CountsOthers tells whether the host's other endpoints are counted as well, and why not.
func (m *Measurement) CountsOthers() error {
	if m.others == nil {
		return errors.New("that was not asked for")
	}
	return m.others.err
}
