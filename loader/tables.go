package loader

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

const netnsRecordBytes = int(unsafe.Sizeof(bpf.TablesNetnsRecord{}))

// listNamespaces lists all network namespaces of the host. The list can change under the program's feet: it is whole where it
// leads back to its begin.
func (p *Probes) listNamespaces() ([]bpf.TablesNetnsRecord, error) {
	const attempts = 10
	var length uint32
	for range attempts {
		if _, err := p.tables.Programs[bpf.TablesProgListNamespaces].Run(&ebpf.RunOptions{}); err != nil {
			return nil, fmt.Errorf("list network namespaces: %w", err)
		}
		var whole bool
		err := errors.Join(p.tables.Variables[bpf.TablesVarNamespacesLen].Get(&length),
			p.tables.Variables[bpf.TablesVarNamespacesWhole].Get(&whole))
		if err != nil {
			return nil, fmt.Errorf("list network namespaces: %w", err)
		}
		if whole {
			return readArray[bpf.TablesNetnsRecord](p.tables.Maps[bpf.TablesMapNamespaces], int(length))
		}
	}
	return nil, fmt.Errorf("list network namespaces: no end after %d of them", length)
}

// readArray reads the first values of an array that can be mapped.
func readArray[T any](m *ebpf.Map, n int) ([]T, error) {
	memory, err := m.Memory()
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", m, err)
	}
	values := make([]T, n)
	if n == 0 {
		return values, nil
	}
	_, err = memory.ReadAt(unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), n*int(unsafe.Sizeof(values[0]))), 0)
	return values, err
}

// hashTable is one of the protocol's tables. Network namespaces share them, or have an established one of their own.
type hashTable struct {
	first     uint64 // address of the first bucket
	last      uint32
	listeners bool
}

// nullsBase is what ends the list of bucket 0 (NULLS_MARKER). The tables of listeners count from LISTENING_NULLS_BASE.
func (t hashTable) nullsBase() uint64 {
	if t.listeners {
		return 1 << 29
	}
	return 0
}

// tablesOf is the tables of all namespaces, those of listeners first.
func tablesOf(namespaces []bpf.TablesNetnsRecord) (tables []hashTable) {
	seen := map[hashTable]bool{}
	add := func(t hashTable) {
		if t.first != 0 && !seen[t] {
			seen[t] = true
			tables = append(tables, t)
		}
	}
	for _, n := range namespaces {
		add(hashTable{n.Listening, n.ListeningMask, true})
	}
	for _, n := range namespaces {
		add(hashTable{n.Established, n.EstablishedMask, false})
	}
	return tables
}

// tableReader reads the records of all endpoints in hash tables, as an iterator's are read.
type tableReader struct {
	probes *Probes
	memory *ebpf.Memory
	tables []hashTable
	next   uint32 // bucket of the first of the tables
	record int    // bytes of one
	left   []byte // what the last run has found and is not read
	buffer []byte
}

// runBuckets is how many buckets a run visits at most: it cannot be preempted on most kernels.
const runBuckets = 2048

func (p *Probes) newTableReader(tables []hashTable) (*tableReader, error) {
	memory, err := p.tables.Maps[bpf.TablesMapFound].Memory()
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", bpf.TablesMapFound, err)
	}
	return &tableReader{probes: p, memory: memory, tables: tables, record: liveRecordBytes,
		buffer: make([]byte, memory.Size())}, nil
}

func (r *tableReader) Read(b []byte) (int, error) {
	for len(r.left) == 0 {
		if len(r.tables) == 0 {
			return 0, io.EOF
		}
		if err := r.run(); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

// run visits the next buckets.
func (r *tableReader) run() error {
	t := r.tables[0]
	variables := r.probes.tables.Variables
	err := errors.Join(
		variables[bpf.TablesVarTable].Set(t.first),
		variables[bpf.TablesVarNullsBase].Set(t.nullsBase()),
		variables[bpf.TablesVarListeners].Set(t.listeners),
		variables[bpf.TablesVarBucket].Set(r.next),
		variables[bpf.TablesVarLastBucket].Set(min(r.next+runBuckets-1, t.last)))
	if err != nil {
		return fmt.Errorf("walk a hash table: %w", err)
	}
	if _, err := r.probes.tables.Programs[bpf.TablesProgWalkTable].Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("walk a hash table: %w", err)
	}
	var found, next uint32
	if err := errors.Join(variables[bpf.TablesVarFoundLen].Get(&found), variables[bpf.TablesVarBucket].Get(&next)); err != nil {
		return fmt.Errorf("walk a hash table: %w", err)
	}
	if next <= r.next {
		return fmt.Errorf("walk a hash table: no end of bucket %d", next)
	}
	r.left = r.buffer[:int(found)*r.record]
	if _, err := r.memory.ReadAt(r.left, 0); err != nil {
		return fmt.Errorf("read map %s: %w", bpf.TablesMapFound, err)
	}
	if r.next = next; next > t.last {
		r.tables, r.next = r.tables[1:], 0
	}
	return nil
}

// walkTables visits the endpoints of all network namespaces. It returns how many buckets held more than could be visited.
func (p *Probes) walkTables(namespaces []bpf.TablesNetnsRecord, visit func(*kernel.Endpoint) error) (overfull uint64, err error) {
	if err := p.tables.Variables[bpf.TablesVarOverfull].Set(uint64(0)); err != nil {
		return 0, fmt.Errorf("set %s: %w", bpf.TablesVarOverfull, err)
	}
	r, err := p.newTableReader(tablesOf(namespaces))
	if err != nil {
		return 0, err
	}
	if err := readRecords(r, r.record, p.config.AtOnce, p.visitor(visit)); err != nil {
		return 0, err
	}
	if err := p.tables.Variables[bpf.TablesVarOverfull].Get(&overfull); err != nil {
		return 0, fmt.Errorf("read %s: %w", bpf.TablesVarOverfull, err)
	}
	return overfull, nil
}
