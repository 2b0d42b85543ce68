package account

import (
	"cmp"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Owner is the processes that have sockets open, one or several together.
type Owner struct {
	PIDs      []int  // at least one; first the one that stands for them, then lowest first
	More      int    // processes beyond PIDs, where they are too many to list
	Comm      string // of the first
	UID       uint32
	Cgroup    string // path
	Unit      string // the systemd unit, empty where there is none
	Container string // its ID, empty where there is none
	Pod       string // UID of the Kubernetes pod, empty where there is none
}

// Owners tells who has a socket open. Sockets are known by their files: that is what processes share and hand on.
type Owners interface {
	// Owner is who has the struct file at that address open, nil where no process has. It gives the same pointer for all
	// files of the same processes.
	Owner(file uint64) *Owner
}

// Places names the cgroups of sockets that no process has, by the ID that the socket keeps (kernel.Live.Cgroup). Owners may be
// Places as well.
type Places interface {
	// Place is an Owner without processes, nil where nothing is known of the cgroup. It gives the same pointer each time.
	Place(cgroup uint64) *Owner
}

// Partial is what Owners are that may not see all processes of the host. A file that nobody is known to have may be in a process
// that was not seen.
type Partial interface {
	Partial() bool
}

// OwnersByFile is the owners of all files, by the address of the struct file.
type OwnersByFile map[uint64]*Owner

// Owner is the owner of a file, nil where the map has none.
func (o OwnersByFile) Owner(file uint64) *Owner { return o[file] }

// ownerOf is who has an endpoint, or why no process has it.
func ownerOf(owners Owners, e *kernel.Endpoint) (recording.OwnerKind, *Owner) {
	if kind := ownerless(e); kind != "" {
		return kind, placeOf(owners, e)
	}
	if o := owners.Owner(e.File); o != nil {
		return recording.OwnerProcess, o
	}
	if p, ok := owners.(Partial); ok && p.Partial() {
		return recording.OwnerUnseen, placeOf(owners, e)
	}
	return recording.OwnerInFlight, placeOf(owners, e)
}

// OwnerOf is who has an endpoint, or why no process has it, by the owners of GroupBy.
func (l *Ledger) OwnerOf(e *kernel.Endpoint) (recording.OwnerKind, *Owner) {
	if l.walk.groups.by.Owners == nil {
		return "", nil
	}
	return ownerOf(l.walk.groups.by.Owners, e)
}

// ownerless is why no process can have an endpoint, empty where one can.
func ownerless(e *kernel.Endpoint) recording.OwnerKind {
	switch {
	case e.Objects[kernel.TimewaitSock] > 0:
		return recording.OwnerTimeWait
	case e.Objects[kernel.RequestSock] > 0 && e.Objects[kernel.TCPSock] == 0:
		return recording.OwnerRequest
	case e.Dead:
		return recording.OwnerOrphan
	case e.Unaccepted():
		return recording.OwnerAcceptQueue
	case e.File == 0:
		return recording.OwnerKernel
	}
	return ""
}

// placeOf is the cgroup that made an endpoint, where it is known.
func placeOf(owners Owners, e *kernel.Endpoint) *Owner {
	if places, ok := owners.(Places); ok && e.Live.Cgroup != 0 {
		return places.Place(e.Live.Cgroup)
	}
	return nil
}

// pid is the first process, 0 for no owner.
func (o *Owner) pid() int {
	if o == nil || len(o.PIDs) == 0 {
		return 0
	}
	return o.PIDs[0]
}

func (o *Owner) compare(p *Owner) int {
	switch {
	case o == p:
		return 0
	case o == nil:
		return -1
	case p == nil:
		return 1
	}
	return cmp.Or(slices.Compare(o.PIDs, p.PIDs), strings.Compare(o.Comm, p.Comm), cmp.Compare(o.UID, p.UID),
		strings.Compare(o.Cgroup, p.Cgroup), strings.Compare(o.Container, p.Container))
}
