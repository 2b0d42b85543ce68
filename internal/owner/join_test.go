package owner

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
)

// opened is a file and who has it, in the order of the walk: by process.
func opened(has map[int][]uint64, order ...int) *Join {
	j := NewJoin()
	for _, pid := range order {
		for fd, file := range has[pid] {
			j.Add(&kernel.OpenFile{PID: uint32(pid), TID: uint32(pid), FD: uint32(fd), File: file, Comm: "walked"})
		}
	}
	return j
}

const nginxUnit = "0::/system.slice/nginx.service\n"

// nginx is a master and four workers, as Debian starts them.
var nginx = []someone{
	{pid: 1, comm: "systemd", cgroups: "0::/init.scope\n"},
	{pid: 900, parent: 1, comm: "nginx", cgroups: nginxUnit},
	{pid: 901, parent: 900, comm: "nginx", uid: 33, cgroups: nginxUnit},
	{pid: 902, parent: 900, comm: "nginx", uid: 33, cgroups: nginxUnit},
	{pid: 903, parent: 900, comm: "nginx", uid: 33, cgroups: nginxUnit},
	{pid: 904, parent: 900, comm: "nginx", uid: 33, cgroups: nginxUnit},
}

func TestAMasterAndItsWorkersAreAFamilyAndEachIsAnOwner(t *testing.T) {
	const listener = 1
	owners := opened(map[int][]uint64{900: {listener}, 901: {listener, 11, 12}, 902: {listener, 21}, 903: {listener}, 904: {listener, 41}},
		900, 901, 902, 903, 904).Finish(makeProc(t, nginx...))
	all := []int{900, 901, 902, 903, 904}
	shared := owners.Owner(listener)
	want := account.Owner{PIDs: all, Comm: "nginx", Cgroup: "/system.slice/nginx.service", Unit: "nginx.service"}
	if shared == nil || !reflect.DeepEqual(*shared, want) {
		t.Fatalf("the listener is %+v's, want %+v", shared, want)
	}
	first, second := owners.Owner(11), owners.Owner(12)
	if first == nil || first != second || !slices.Equal(first.PIDs, []int{901}) || first.UID != 33 {
		t.Errorf("two connections of one worker are %+v's and %+v's", first, second)
	}
	if other := owners.Owner(21); other == first || !slices.Equal(other.PIDs, []int{902}) {
		t.Errorf("another worker's connection is %+v's", other)
	}
	family := owners.Families()
	for _, file := range []uint64{listener, 11, 12, 21, 41} {
		if of := family.Owner(file); of != family.Owner(listener) || !slices.Equal(of.PIDs, all) || of.UID != 0 {
			t.Errorf("file %d is the family %+v's", file, of)
		}
	}
	if owners.Owner(99) != nil || family.Owner(99) != nil {
		t.Error("a file that nobody has open has an owner")
	}
}

func TestWhoIsAFamily(t *testing.T) {
	for name, c := range map[string]struct {
		a, b someone
		are  bool
	}{
		"a parent and its child":       {someone{parent: 1}, someone{parent: 200}, true},
		"siblings":                     {someone{parent: 50}, someone{parent: 50}, true},
		"children of init":             {someone{parent: 1}, someone{parent: 1}, false},
		"strangers of one name":        {someone{parent: 50}, someone{parent: 60}, false},
		"siblings with other names":    {someone{parent: 50}, someone{parent: 50, comm: "other"}, false},
		"siblings in other cgroups":    {someone{parent: 50}, someone{parent: 50, cgroups: "0::/other\n"}, false},
		"a shell and what it has run":  {someone{parent: 1, comm: "bash"}, someone{parent: 200}, false},
		"siblings of different users":  {someone{parent: 50, uid: 1}, someone{parent: 50, uid: 2}, true},
		"children of what is unknown":  {someone{parent: 0}, someone{parent: 0}, false},
		"each the parent of the other": {someone{parent: 300}, someone{parent: 200}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.a.pid, c.b.pid = 200, 300
			for _, p := range []*someone{&c.a, &c.b} {
				if p.comm == "" {
					p.comm = "app"
				}
				if p.cgroups == "" {
					p.cgroups = "0::/app\n"
				}
			}
			owners := opened(map[int][]uint64{200: {1}, 300: {2}}, 200, 300).Finish(makeProc(t, c.a, c.b)).Families()
			if are := owners.Owner(1) == owners.Owner(2); are != c.are {
				t.Errorf("one family: %v, want %v", are, c.are)
			}
		})
	}
}

func TestOneStandsForThoseThatShareAFile(t *testing.T) {
	app := func(pid, parent int) someone { return someone{pid: pid, parent: parent, comm: "app"} }
	for name, c := range map[string]struct {
		there []someone
		has   []int
		pids  []int
		comm  string
	}{
		"the service that systemd listens for": {nginx, []int{1, 900}, []int{900, 1}, "nginx"},
		"systemd where nobody else does":       {nginx, []int{1}, []int{1}, "systemd"},
		"a master with a higher number":        {[]someone{app(300, 1), app(200, 300), app(201, 300)}, []int{200, 201, 300}, []int{300, 200, 201}, "app"},
		"who is left of two":                   {[]someone{app(300, 200)}, []int{200, 300}, []int{300, 200}, "app"},
		"who was there":                        {nil, []int{200}, []int{200}, "walked (gone)"},
	} {
		t.Run(name, func(t *testing.T) {
			has := map[int][]uint64{}
			for _, pid := range c.has {
				has[pid] = []uint64{7}
			}
			got := opened(has, c.has...).Finish(makeProc(t, c.there...)).Owner(7)
			if !slices.Equal(got.PIDs, c.pids) || got.Comm != c.comm {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestThreadsAndCopiesOfADescriptorAreOneProcess(t *testing.T) {
	j := NewJoin()
	for _, f := range []kernel.OpenFile{
		{PID: 400, FD: 3, File: 4, Comm: "without a thread"},
		{PID: 200, TID: 205, FD: 3, File: 1, Comm: "thread"}, // whose table is its own
		{PID: 200, TID: 200, FD: 3, File: 1, Comm: "leader"},
		{PID: 200, TID: 200, FD: 4, File: 1, Comm: "leader"},
		{PID: 300, TID: 300, FD: 3, File: 1, Comm: "b"},
		{PID: 200, TID: 310, FD: 9, File: 1, Comm: "late"},
		// The same two in the other order.
		{PID: 300, TID: 300, FD: 4, File: 2, Comm: "b"},
		{PID: 200, TID: 310, FD: 10, File: 2, Comm: "late"},
		{PID: 0, TID: 0, FD: 1, File: 3}, {PID: 200, TID: 200, FD: 5, File: 0},
	} {
		j.Add(&f)
	}
	o := j.Finish(Reader{Proc: t.TempDir(), Exists: func(int) bool { return true }})
	if got := o.Owner(1); !slices.Equal(got.PIDs, []int{200, 300}) || got.Comm != "leader" || got != o.Owner(2) {
		t.Errorf("one file is %+v's, the other %+v's", got, o.Owner(2))
	}
	if got := o.Owner(4); got == nil || got.Comm != "without a thread" {
		t.Errorf("a file of no thread is %+v's", got)
	}
	if o.Owner(3) != nil || o.Owner(0) != nil {
		t.Error("what is no process or no file has an owner")
	}
}

// A server that closes nothing in the children it forks: child i has the files 0 to i, so that each file has its own set of
// processes. Lists of all together are bounded, and the numbers right all the same.
func TestSetsWithoutEndAreBounded(t *testing.T) {
	const n = 300
	j := NewJoin()
	j.most = 10_000 // of 45,150
	for child := 1; child <= n; child++ {
		for file := 1; file <= child; file++ {
			j.Add(&kernel.OpenFile{PID: uint32(child + 100), TID: uint32(child + 100), File: uint64(file), Comm: "forker"})
		}
	}
	most := j.most
	o := j.Finish(Reader{Proc: t.TempDir(), Exists: func(int) bool { return true }})
	listed := 0
	for file := 1; file <= n; file++ {
		owner := o.Owner(uint64(file))
		listed += len(owner.PIDs)
		if got := len(owner.PIDs) + owner.More; got != n-file+1 || len(owner.PIDs) == 0 {
			t.Fatalf("file %d has %d processes, want %d", file, got, n-file+1)
		}
	}
	if listed < most || listed > most+n*fewest {
		t.Errorf("%d processes are listed", listed)
	}
}

func TestAMillionFilesTake64BytesEach(t *testing.T) {
	const n = 1_000_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	j := NewJoin()
	for i := range n {
		pid := uint32(100 + i/5000)
		j.Add(&kernel.OpenFile{PID: pid, TID: pid, File: 0xffff888000000000 + uint64(i)*256, Comm: "server"})
	}
	joined := heap()
	o := j.Finish(Reader{Proc: t.TempDir(), Exists: func(int) bool { return true }})
	finished := heap()
	for _, m := range []uint64{joined, finished} {
		if each := float64(m-before) / n; each > 64 {
			t.Errorf("%.0f bytes for each file", each)
		}
	}
	if len(o.owners) != n/5000 {
		t.Errorf("%d owners of %d", len(o.owners), n/5000)
	}
	runtime.KeepAlive(j)
}

func BenchmarkJoin(b *testing.B) {
	for _, processes := range []int{1, 200} {
		b.Run(fmt.Sprintf("1M files of %d processes", processes), func(b *testing.B) {
			const n = 1_000_000
			for b.Loop() {
				j := NewJoin()
				for i := range n {
					pid := uint32(100 + i*processes/n)
					j.Add(&kernel.OpenFile{PID: pid, TID: pid, File: 0xffff888000000000 + uint64(i)*256, Comm: "server"})
				}
				j.Finish(Reader{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/file")
		})
	}
}
