package owner

import (
	"slices"

	"github.com/connprof/connprof/internal/account"
)

// processes are those that have sockets, by their numbers.
type processes map[int]*Process

// mostListed bounds the lists of processes of all owners together: 8 MB. Where a server leaves every connection open in
// every child that it forks later, each connection is another set of processes. Beyond the bound an owner lists fewest.
const (
	mostListed = 1 << 20
	fewest     = 16
)

// owner is some processes as one owner, with the one that stands for them first. It lists at most so many, but some always.
func (p processes) owner(pids []int, most int) *account.Owner {
	slices.Sort(pids)
	first, best := pids[0], worst
	for _, pid := range pids {
		if rank := p.standing(pid, pids); rank < best {
			first, best = pid, rank
		}
	}
	at := slices.Index(pids, first)
	copy(pids[1:at+1], pids[:at])
	pids[0] = first
	o := &account.Owner{PIDs: pids}
	if most = max(most, fewest); len(pids) > most {
		o.PIDs, o.More = slices.Clone(pids[:most]), len(pids)-most
	}
	process := p[first]
	o.Comm, o.UID, o.Cgroup = process.Comm, process.UID, process.Cgroup
	if process.Gone {
		o.Comm += " (gone)"
	}
	place := ParseCgroup(process.Cgroup)
	o.Unit, o.Container, o.Pod = place.Unit, place.Container, place.Pod
	return o
}

// standing ranks who stands for several processes, best lowest: one that is there; not init, which keeps the listener of a
// service that it starts on demand; one that none of the others has started.
func (p processes) standing(pid int, among []int) int {
	process, rank := p[pid], 0
	if process.Gone {
		rank += 4
	}
	if pid == initPID {
		rank += 2
	}
	if _, is := slices.BinarySearch(among, process.Parent); is && process.Parent != initPID {
		rank++
	}
	return rank
}

const worst = 8

const initPID = 1

// kin joins processes into families.
type kin struct {
	known  processes
	parent map[int]int // in the tree of a family, whose root stands for it; absent: a root
	owners map[int]*account.Owner
}

// sibling is what siblings have in common.
type sibling struct {
	parent       int
	comm, cgroup string
}

// kinOf finds the families: of one name and one cgroup, each the parent of another, or both of one parent. What has lost its
// parent is init's child, and no more related to its siblings than that.
func kinOf(known processes) *kin {
	k := &kin{known: known, parent: map[int]int{}, owners: map[int]*account.Owner{}}
	eldest := map[sibling]int{}
	for pid, p := range known {
		if p.Parent <= initPID {
			continue
		}
		if parent, ok := known[p.Parent]; ok && !parent.Gone && parent.Comm == p.Comm && parent.Cgroup == p.Cgroup {
			k.join(pid, p.Parent)
		}
		as := sibling{p.Parent, p.Comm, p.Cgroup}
		if other, ok := eldest[as]; ok {
			k.join(pid, other)
		} else {
			eldest[as] = pid
		}
	}
	return k
}

func (k *kin) root(pid int) int {
	for {
		up, ok := k.parent[pid]
		if !ok {
			return pid
		}
		if higher, ok := k.parent[up]; ok {
			k.parent[pid] = higher
		}
		pid = up
	}
}

func (k *kin) join(a, b int) {
	if a, b = k.root(a), k.root(b); a != b {
		k.parent[a] = b
	}
}

// family is the owner with all the kin of the process that stands for it.
func (k *kin) family(of *account.Owner) *account.Owner {
	if len(k.owners) == 0 {
		members := map[int][]int{}
		for pid := range k.known {
			root := k.root(pid)
			members[root] = append(members[root], pid)
		}
		for root, pids := range members {
			k.owners[root] = k.known.owner(pids, mostListed)
		}
	}
	return k.owners[k.root(of.PIDs[0])]
}
