package measure

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
)

const sysKernelSlab = "/sys/kernel/slab"

// ReadSlabs reads what the kernel says of its slab memory, once it has been asked to bring that up to date. Where it
// cannot be, the figures are off by what lies with the CPUs, and the report shows it as unexplained.
func ReadSlabs() (account.Snapshot, error) {
	_ = kernel.SettleCounts()
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return account.Snapshot{}, fmt.Errorf("read slab memory: %w", err)
	}
	slabs, err := readSlabinfo()
	if err != nil {
		return account.Snapshot{}, err
	}
	return account.Snapshot{SlabBytes: info["Slab"], Slabs: slabs}, nil
}

func readSlabinfo() (map[string]kernel.Slab, error) {
	slabs, err := kernel.ReadSlabinfo()
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("read slab caches: %w; run as root", err)
	case err != nil:
		return nil, fmt.Errorf("read slab caches: %w", err)
	}
	return slabs, nil
}
