package kernel

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/procfs"
)

// TCPBooks is what the kernel itself says of TCP and of memory. A figure is the whole host's where it does not say otherwise.
type TCPBooks struct {
	Alloc     int   // full socks: "alloc" of TCP in /proc/net/sockstat
	Orphans   int   // of them closed by their process ("orphan")
	Pages     int64 // memory_allocated ("mem"), without what each CPU has not yet added to it
	InUse     int   // socks in the protocol's tables ("inuse", both families) of this process's network namespace
	TimeWait  int   // ("tw") of this process's network namespace
	TCPSocks  uint64
	SlabBytes uint64 // Slab in /proc/meminfo
	MemTotal  uint64 // bytes

	PageLimits  [3]int64 // sysctl net.ipv4.tcp_mem, in pages: low, pressure, high
	MaxOrphans  int      // sysctl net.ipv4.tcp_max_orphans
	MaxTimeWait int      // sysctl net.ipv4.tcp_max_tw_buckets, of this process's network namespace
	// Tracked is connection tracking's entries in this process's network namespace, MaxTracked the limit for each namespace (sysctl
	// net.netfilter.nf_conntrack_max), TrackedBytes the slabs of the entries of all. They are 0 where the kernel tracks nothing.
	Tracked, MaxTracked int
	TrackedBytes        uint64
	TCPSocksShared      bool // TCPSocks counts objects of other types as well: SLUB has merged the cache with theirs
}

// trackingCache is where connection tracking's entries are, those of all network namespaces since 4.7.
const trackingCache = "nf_conntrack"

// ReadTCPBooks reads the running kernel's books. Each error names the file that could not be read, and the figures that it
// would have given are 0; the others are right all the same. Only root may read /proc/slabinfo, and the limits of the whole
// host are shown in the first network namespace alone.
func ReadTCPBooks() (TCPBooks, []error) {
	return TCPBooksBelow(procfs.DefaultMountPoint, "/sys/kernel/slab")
}

// TCPBooksBelow reads them where /proc is mounted, and the slab caches' directory (see Aliases).
func TCPBooksBelow(proc, sysKernelSlab string) (TCPBooks, []error) {
	b := TCPBooks{}
	procFS, err := procfs.NewFS(proc)
	if err != nil {
		return b, []error{err}
	}
	var errs []error
	for _, read := range []func() error{
		func() error { return b.readSockstat(procFS, proc) },
		func() error { return b.readLimits(procFS, proc) },
		func() error { return b.readTracking(procFS, proc) },
		func() error { return b.readSlabs(proc, sysKernelSlab) },
		func() error { return b.readMeminfo(proc) },
	} {
		if err := read(); err != nil {
			errs = append(errs, err)
		}
	}
	return b, errs
}

func (b *TCPBooks) readSockstat(procFS procfs.FS, proc string) error {
	stat, err := procFS.NetSockstat()
	if err != nil {
		return fmt.Errorf("read %s/net/sockstat: %w", proc, err)
	}
	tcp, ok := protocol(stat, "TCP")
	if !ok || tcp.Alloc == nil || tcp.Orphan == nil || tcp.TW == nil || tcp.Mem == nil {
		return fmt.Errorf("read %s/net/sockstat: no whole line of TCP in it", proc)
	}
	b.Alloc, b.Orphans, b.TimeWait, b.Pages, b.InUse = *tcp.Alloc, *tcp.Orphan, *tcp.TW, int64(*tcp.Mem), tcp.InUse
	stat6, err := procFS.NetSockstat6()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without IPv6
	}
	if err != nil {
		return fmt.Errorf("read %s/net/sockstat6: %w", proc, err)
	}
	tcp6, _ := protocol(stat6, "TCP6")
	b.InUse += tcp6.InUse
	return nil
}

func protocol(stat *procfs.NetSockstat, name string) (procfs.NetSockstatProtocol, bool) {
	for _, p := range stat.Protocols {
		if p.Protocol == name {
			return p, true
		}
	}
	return procfs.NetSockstatProtocol{}, false
}

func (b *TCPBooks) readLimits(procFS procfs.FS, proc string) error {
	for _, sysctl := range []struct {
		name string
		into func([]int)
		want int
	}{
		{"net.ipv4.tcp_mem", func(n []int) { b.PageLimits = [3]int64{int64(n[0]), int64(n[1]), int64(n[2])} }, 3},
		{"net.ipv4.tcp_max_orphans", func(n []int) { b.MaxOrphans = n[0] }, 1},
		{"net.ipv4.tcp_max_tw_buckets", func(n []int) { b.MaxTimeWait = n[0] }, 1},
	} {
		numbers, err := procFS.SysctlInts(sysctl.name)
		if err == nil && len(numbers) != sysctl.want {
			err = fmt.Errorf("%d numbers in it, want %d", len(numbers), sysctl.want)
		}
		if err != nil {
			return fmt.Errorf("read the sysctl %s below %s: %w", sysctl.name, proc, err)
		}
		sysctl.into(numbers)
	}
	return nil
}

// readTracking reads how full connection tracking is. Without its module it has no files.
func (b *TCPBooks) readTracking(procFS procfs.FS, proc string) error {
	for _, sysctl := range []struct {
		name string
		into *int
	}{{"net.netfilter.nf_conntrack_count", &b.Tracked}, {"net.netfilter.nf_conntrack_max", &b.MaxTracked}} {
		numbers, err := procFS.SysctlInts(sysctl.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && len(numbers) != 1 {
			err = fmt.Errorf("%d numbers in it, want 1", len(numbers))
		}
		if err != nil {
			return fmt.Errorf("read the sysctl %s below %s: %w", sysctl.name, proc, err)
		}
		*sysctl.into = numbers[0]
	}
	return nil
}

// readSlabs counts the objects of the caches TCP and TCPv6. A kernel without IPv6 has one of them.
func (b *TCPBooks) readSlabs(proc, sysKernelSlab string) error {
	slabs, err := SlabinfoBelow(proc)
	if err != nil {
		return err
	}
	b.TrackedBytes = slabs[trackingCache].PageBytes() // which SLUB merges with none: its objects are reused before a grace period
	aliases := Aliases(sysKernelSlab, slabs)
	counted := map[string]bool{}
	for _, name := range Types[TCPSock].Caches {
		listed := name
		if _, ok := slabs[name]; !ok {
			listed = aliases[name]
			b.TCPSocksShared = b.TCPSocksShared || listed != ""
		}
		if !counted[listed] {
			b.TCPSocks += slabs[listed].ActiveObjects
			counted[listed] = true
		}
	}
	if len(counted) == 1 && counted[""] {
		return fmt.Errorf("read %s/slabinfo: no cache TCP in it", proc)
	}
	return nil
}

func (b *TCPBooks) readMeminfo(proc string) error {
	m, err := MeminfoBelow(proc)
	b.SlabBytes, b.MemTotal = m["Slab"], m["MemTotal"]
	return err
}
