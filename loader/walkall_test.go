package loader

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

func TestNamespacesWithTheSameAddressesAreToldApart(t *testing.T) {
	p := loadLive(t)
	places := []*place{{Private: private(t)}, {Private: private(t)}}
	for _, place := range places {
		place.open(t)
		defer place.close()
	}
	found := map[uint32]map[uint64]bool{}
	coverage, err := p.WalkAll(func(e *kernel.Endpoint) error {
		if found[e.Netns] == nil {
			found[e.Netns] = map[uint64]bool{}
		}
		found[e.Netns][e.Sock] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range places {
		if len(found[place.Inode()]) != 3 || !slices.Contains(coverage.Walked, place.Inode()) {
			t.Errorf("%d endpoints in namespace %d, want 3; walked %v", len(found[place.Inode()]), place.Inode(), coverage.Walked)
		}
	}
	if coverage.OnePass != (p.tables != nil) || coverage.Overfull != 0 || len(coverage.Missed) != 0 {
		t.Errorf("coverage %+v", coverage)
	}
}

// No process is in it, nothing mounts it.
func TestANamespaceThatOnlyASocketHoldsIsWalked(t *testing.T) {
	p, n := loadLive(t), private(t)
	inode := n.Inode()
	var fd int
	in(t, n, func() (err error) { fd, err = listenOn(kindsPort); return err })
	defer unix.Close(fd)
	n.Close()
	for name, walk := range map[string]func(func(*kernel.Endpoint) error) (Coverage, error){"WalkAll": p.WalkAll, "walkEach": p.walkEach} {
		found := 0
		coverage, err := walk(func(e *kernel.Endpoint) error {
			if e.Netns == inode && e.State == kernel.StateListen && e.Local.Port() == kindsPort {
				found++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if found != 1 || !slices.Contains(coverage.Walked, inode) {
			t.Errorf("%s: %d listeners in namespace %d, want 1; coverage %+v", name, found, inode, coverage)
		}
	}
	list, err := p.Namespaces()
	if err != nil || !slices.Contains(list, inode) {
		t.Errorf("namespaces %v, error %v: %d is missing", list, err, inode)
	}
}

func TestAllNamespacesAreListedOnce(t *testing.T) {
	p := loadLive(t)
	const some = 20
	done := make(chan struct{})
	defer close(done)
	var want []uint32
	for range some {
		inode := make(chan uint32)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with the goroutine, and the namespace with it
			var stat unix.Stat_t
			if unix.Unshare(unix.CLONE_NEWNET) == nil {
				_ = unix.Stat("/proc/thread-self/ns/net", &stat)
			}
			inode <- uint32(stat.Ino)
			<-done
		}()
		want = append(want, <-inode)
	}
	list, err := p.Namespaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, inode := range want {
		if !slices.Contains(list, inode) {
			t.Errorf("namespace %d is not among %v", inode, list)
		}
	}
	if n := len(slices.Compact(slices.Clone(list))); n != len(list) {
		t.Errorf("%d of %d namespaces are different ones", n, len(list))
	}
}

// The reader knows the end of a bucket's list by its number, and begins a bucket again whose list ends with another's.
func TestAListOfABucketEndsWithItsNumber(t *testing.T) {
	p := loadLive(t)
	if p.tables == nil {
		return // this kernel's tables are not read
	}
	list, err := p.listNamespaces()
	if err != nil {
		t.Fatal(err)
	}
	buckets := uint64(0)
	for _, table := range tablesOf(list) {
		if table.first == 0 || table.last == 0 || (table.last+1)&table.last != 0 {
			t.Errorf("%+v: a table has a power of two of buckets", table)
		}
		buckets += uint64(table.last) + 1
	}
	if _, err := p.walkTables(list, func(*kernel.Endpoint) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var retried uint64
	if err := p.tables.Variables[bpf.TablesVarRetried].Get(&retried); err != nil {
		t.Fatal(err)
	}
	if retried > buckets/100 {
		t.Errorf("%d of %d buckets were begun again", retried, buckets)
	}
}
