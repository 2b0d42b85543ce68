package loader

import (
	"github.com/cilium/ebpf"

	"github.com/connprof/connprof/bpf"
)

// Scope is the network namespaces whose sockets and tasks the probes report. The zero Scope has none. A walk does not ask
// for it: Walk is told which namespaces to walk.
type Scope struct {
	kind   bpf.StateScopeKind
	inodes []uint32
}

// InNetns is the namespaces with these inode numbers. One costs the probes a comparison, several a look-up in a map.
func InNetns(inodes ...uint32) Scope {
	if len(inodes) > 1 {
		return Scope{kind: bpf.StateScopeKindSCOPE_SEVERAL, inodes: inodes}
	}
	return Scope{kind: bpf.StateScopeKindSCOPE_ONE, inodes: inodes}
}

// InAllNetns is every namespace of the host, those to come among them.
func InAllNetns() Scope { return Scope{kind: bpf.StateScopeKindSCOPE_ALL} }

// noNetns is the inode number of no network namespace.
const noNetns = 1

// target is the namespace of a Scope of one.
func (s Scope) target() uint32 {
	if s.kind == bpf.StateScopeKindSCOPE_ONE && len(s.inodes) == 1 {
		return s.inodes[0]
	}
	return noNetns
}

// fill gives the map of several namespaces its size and contents.
func (s Scope) fill(m *ebpf.MapSpec) {
	m.MaxEntries = uint32(max(len(s.inodes), 1))
	for _, inode := range s.inodes {
		m.Contents = append(m.Contents, ebpf.MapKV{Key: inode, Value: uint8(1)})
	}
}
