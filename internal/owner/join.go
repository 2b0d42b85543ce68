package owner

import (
	"hash/maphash"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
)

// Join gathers who has which file open, while a walk finds it out. It keeps some 40 bytes for each file.
type Join struct {
	files map[uint64]uint32 // the number of the set of processes that have a file, by its address
	sets  []set
	met   map[uint32]met // the processes
	seed  maphash.Seed
	// added are the steps from a set to a larger one that the last process has made. last is the thread that the last
	// descriptor was of.
	added map[uint32]uint32
	of    uint32
	last  uint32
	most  int // processes that all owners list together
}

// set is a set of processes: another one, and one process more. Sets share what they have in common, for a thousand workers
// that share a listener make a thousand sets on the way. Number 0 is the empty set.
type set struct {
	rest, pid uint32
	sum       uint64 // the same for the same processes in whatever order, and of other processes another one
}

// met is what is known of a process before /proc is read.
type met struct {
	comm string
	sets uint32 // how many there were: it is in none of them
}

// NewJoin is one without files.
func NewJoin() *Join {
	return &Join{files: map[uint64]uint32{}, sets: []set{{}}, met: map[uint32]met{}, seed: maphash.MakeSeed(),
		added: map[uint32]uint32{}, most: mostListed}
}

// Add enters a descriptor. One process may have several of one file, and threads with tables of their own.
func (j *Join) Add(f *kernel.OpenFile) {
	if f.File == 0 || f.PID == 0 {
		return
	}
	if f.TID != j.last || f.PID != j.of {
		j.last = f.TID
		j.meet(f)
	}
	before := j.files[f.File]
	if after := j.with(before, f.PID); after != before {
		j.files[f.File] = after
	}
}

// meet enters a process by the first of its descriptors. The name is that of its first thread, where that has any.
func (j *Join) meet(f *kernel.OpenFile) {
	p, known := j.met[f.PID]
	if !known {
		p.sets = uint32(len(j.sets))
	}
	if !known || f.TID == f.PID {
		p.comm = f.Comm
	}
	j.met[f.PID] = p
	if f.PID != j.of {
		j.of = f.PID
		clear(j.added)
	}
}

// with is the number of a set with one process more, the one that was met last.
func (j *Join) with(number, pid uint32) uint32 {
	if j.sets[number].pid == pid {
		return number
	}
	to, known := j.added[number]
	if !known {
		if to = number; !j.has(number, pid) {
			to = uint32(len(j.sets))
			j.sets = append(j.sets, set{number, pid, j.sets[number].sum + maphash.Comparable(j.seed, pid)})
		}
		j.added[number] = to
	}
	return to
}

// has looks for a process in a set. The rest of a set has a lower number than the set.
func (j *Join) has(number, pid uint32) bool {
	for oldest := j.met[pid].sets; number >= oldest; number = j.sets[number].rest {
		if j.sets[number].pid == pid {
			return true
		}
	}
	return false
}

// members are the processes of a set.
func (j *Join) members(number uint32) []int {
	var pids []int
	for ; number != 0; number = j.sets[number].rest {
		pids = append(pids, int(j.sets[number].pid))
	}
	return pids
}

// Owners tells who has which file open. It gives one owner for each set of processes that have files together.
type Owners struct {
	files    map[uint64]uint32 // the number of the set, as in Join
	index    []uint32          // of its owner
	owners   []*account.Owner
	families []*account.Owner // of each owner
}

// Owner is who has a file open, nil where no process has.
func (o *Owners) Owner(file uint64) *account.Owner {
	if number, ok := o.files[file]; ok {
		return o.owners[o.index[number]]
	}
	return nil
}

// Families gives one owner for a master and its workers, whoever of them has the file.
func (o *Owners) Families() account.Owners { return families{o} }

type families struct{ of *Owners }

func (f families) Owner(file uint64) *account.Owner {
	if number, ok := f.of.files[file]; ok {
		return f.of.families[f.of.index[number]]
	}
	return nil
}

// Finish reads from /proc whose the files are. It comes right after the walk, and ends the join.
func (j *Join) Finish(from Reader) *Owners {
	pass := from.begin()
	known := processes{}
	for pid, p := range j.met {
		process := pass.process(int(pid), p.comm)
		known[int(pid)] = &process
	}
	o := &Owners{files: j.files, index: make([]uint32, len(j.sets))}
	kin := kinOf(known)
	owners, listed := map[uint64]uint32{}, 0
	for _, number := range j.used() {
		sum := j.sets[number].sum
		to, is := owners[sum]
		if !is {
			owner := known.owner(j.members(number), j.most-listed)
			listed += len(owner.PIDs)
			to = uint32(len(o.owners))
			o.owners = append(o.owners, owner)
			o.families = append(o.families, kin.family(owner))
			owners[sum] = to
		}
		o.index[number] = to
	}
	*j = Join{}
	return o
}

// used are the sets that have a file, and not only part in a larger one.
func (j *Join) used() []uint32 {
	met := make([]bool, len(j.sets))
	for _, number := range j.files {
		met[number] = true
	}
	var numbers []uint32
	for number, is := range met {
		if is {
			numbers = append(numbers, uint32(number))
		}
	}
	return numbers
}
