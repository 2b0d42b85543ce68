// Package limits reads what bounds the number of connections on this host, and judges it: for a run (limits.go: memory, file
// table, privileges) and for ordinary programs (table.go: one table of all limits). Reading changes nothing on the host; only
// Raise does, which writes the old values into a journal first, and Restore. It imports kernel, privilege and hostfile only.
package limits

import (
	"fmt"
	"math"
	"os"
	"strconv"

	"github.com/connprof/connprof/internal/kernel"
)

// ConnectionBytes is the kernel memory that one idle connection with both ends on this host is expected to cost,
// before it is measured: 7.9 KiB on 6.18, and some room for kernels whose structs are larger.
const ConnectionBytes = 9 << 10

// A segment on its way through this host alone is as large as the sender makes it; what the sender has written at once is one or
// two of them, each with headers and structs of its own around the data. One that comes off a wire has at most an Ethernet frame
// of data, in a page of its own.
const (
	ownSegment, ownSegmentExtra   = 16 << 10, 1536
	wireSegment, wireSegmentExtra = 1448, 3160
)

// Booked is about what the kernel books for the payload that is queued on a connection: more than the data, by what each segment
// has around it (skb->truesize).
func Booked(payload int, wire bool) uint64 {
	segment, extra := uint64(ownSegment), uint64(ownSegmentExtra)
	if wire {
		segment, extra = wireSegment, wireSegmentExtra
	}
	n := uint64(payload)
	return n + (n+segment-1)/segment*extra
}

// largestSegment is more than the kernel books for one segment: it looks whether a queue is full, and then puts another in.
const largestSegment = 72 << 10

// Filled is about the most that the kernel books for a connection, both ends here, where both have sent until it takes no more: the
// receive and the send buffer of each, given in bytes.
func Filled(receive, send int) uint64 { return 2 * (uint64(receive) + uint64(send) + 2*largestSegment) }

// LeastConnectionBytes is less than that costs on any kernel from 5.10 on.
const LeastConnectionBytes = 5 << 10

// Memory is what a run may use.
type Memory struct {
	AvailableBytes uint64 // MemAvailable, or less where a memory cgroup allows less
	TotalBytes     uint64
	Limit          string // which of the two it is, for people
}

// MemAvailable is Memory.Limit where no memory cgroup allows less.
const MemAvailable = "MemAvailable"

// Share is a percentage of what is available, in bytes.
func (m Memory) Share(percent int) uint64 { return m.AvailableBytes / 100 * uint64(percent) }

// ReadMemory reads /proc/meminfo and the limits of the process's memory cgroups.
func ReadMemory() (Memory, error) {
	info, err := kernel.ReadMeminfo()
	if err != nil {
		return Memory{}, fmt.Errorf("read the host's memory: %w", err)
	}
	m := Memory{AvailableBytes: info["MemAvailable"], TotalBytes: info["MemTotal"], Limit: MemAvailable}
	if left, where := cgroupHeadroom("/proc/self/cgroup", "/sys/fs/cgroup"); left < m.AvailableBytes {
		m.AvailableBytes, m.Limit = left, where
	}
	return m, nil
}

// TooMuchError says that a run would need more of something than it may use.
type TooMuchError struct {
	Connections int
	Resource    string // what there is too little of
	Need, Have  uint64
	Unit        string
	Fix         string
}

func (e *TooMuchError) Error() string {
	return fmt.Sprintf("%d connections need about %s of %s and %s may be used; %s", e.Connections,
		amount(e.Need, e.Unit), e.Resource, amount(e.Have, e.Unit), e.Fix)
}

func amount(n uint64, unit string) string {
	if unit != "bytes" {
		return strconv.FormatUint(n, 10)
	}
	if n >= 10<<30 {
		return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.0f MiB", math.Ceil(float64(n)/(1<<20)))
}

// MaxAllowPercent is the share of memory beyond which no run is started: the host needs the rest.
const MaxAllowPercent = 90

// Safe is how many connections fit into the given percentage of the available memory, at the given bytes for each, and the
// limit that sets the number, for people.
func Safe(m Memory, percent int, each uint64) (n int, limit string) {
	return int(m.Share(percent) / each), fmt.Sprintf("memory: %s, %d %% of %s, at %d bytes a connection (--allow-memory)",
		amount(m.Share(percent), "bytes"), percent, m.Limit, each)
}

// CheckMemory fails with a *TooMuchError when n connections do not fit into the given percentage of the memory.
func CheckMemory(n int, m Memory, percent int, each uint64) error {
	need, have := uint64(n)*each, m.Share(percent)
	if need <= have {
		return nil
	}
	fix := "free some memory"
	if fits := have / each; fits > 0 {
		fix = fmt.Sprintf("lower --conns to %d", fits)
	}
	if percent < MaxAllowPercent {
		fix += fmt.Sprintf(" or raise --allow-memory (now %d %% of %s)", percent, m.Limit)
	}
	return &TooMuchError{Connections: n, Resource: "memory", Need: need, Have: have, Unit: "bytes", Fix: fix}
}

// FileTable is the system-wide table of open files.
type FileTable struct{ Used, Max uint64 }

// spareFiles is left to the rest of the host.
const spareFiles = 10_000

// Left is how many more files may be opened while the rest of the host keeps some to itself.
func (f FileTable) Left() uint64 { return f.Max - min(f.Used+spareFiles, f.Max) }

// ReadFileTable reads /proc/sys/fs/file-nr.
func ReadFileTable() (FileTable, error) {
	b, err := os.ReadFile("/proc/sys/fs/file-nr")
	if err != nil {
		return FileTable{}, fmt.Errorf("read the file table's size: %w", err)
	}
	var f FileTable
	var free uint64
	if _, err := fmt.Sscan(string(b), &f.Used, &free, &f.Max); err != nil {
		return FileTable{}, fmt.Errorf("parse /proc/sys/fs/file-nr: %w", err)
	}
	return f, nil
}
