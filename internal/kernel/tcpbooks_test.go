package kernel

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testProc is a /proc by file names, and a directory of slab caches.
func testProc(t *testing.T, without ...string) (proc, slab string) {
	t.Helper()
	files := map[string]string{
		"net/sockstat":         "sockets: used 400\nTCP: inuse 120 orphan 7 tw 9 alloc 174 mem 20272\nUDP: inuse 3 mem 2\n",
		"net/sockstat6":        "TCP6: inuse 30\nUDP6: inuse 1\n",
		"sys/net/ipv4/tcp_mem": "100\t200\t300\n", "sys/net/ipv4/tcp_max_orphans": "131072\n",
		"sys/net/ipv4/tcp_max_tw_buckets":      "65536\n",
		"sys/net/netfilter/nf_conntrack_count": "321\n", "sys/net/netfilter/nf_conntrack_max": "262144\n",
		"slabinfo": "slabinfo - version: 2.1\n# name\nTCPv6 40 48 2496 13 8 : tunables 0 0 0 : slabdata 4 4 0\n" +
			"TCP 134 140 2368 13 8 : tunables 0 0 0 : slabdata 11 11 0\ntw_sock_TCP 9 16 256 16 1 : tunables 0 0 0 : slabdata 1 1 0\n" +
			"nf_conntrack 330 336 256 16 1 : tunables 0 0 0 : slabdata 21 21 0\n",
		"meminfo": testMeminfo,
	}
	for _, name := range without {
		delete(files, name)
	}
	proc = t.TempDir()
	for name, text := range files {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return proc, t.TempDir()
}

var testBooks = TCPBooks{Alloc: 174, Orphans: 7, Pages: 20272, InUse: 150, TimeWait: 9, TCPSocks: 174,
	SlabBytes: 113172 * 1024, MemTotal: 24612344 * 1024, PageLimits: [3]int64{100, 200, 300}, MaxOrphans: 131072, MaxTimeWait: 65536,
	Tracked: 321, MaxTracked: 262144, TrackedBytes: 21 * uint64(os.Getpagesize())}

func TestTheBooksAreReadTogether(t *testing.T) {
	got, errs := TCPBooksBelow(testProc(t))
	if got != testBooks || len(errs) > 0 {
		t.Errorf("got\n%+v, want\n%+v: %v", got, testBooks, errs)
	}
}

func TestABookThatCannotBeReadNamesItselfAndLeavesTheOthers(t *testing.T) {
	for file, change := range map[string]struct {
		b   func(*TCPBooks)
		say string
	}{
		"slabinfo":                             {func(b *TCPBooks) { b.TCPSocks, b.TrackedBytes = 0, 0 }, "/slabinfo"},
		"sys/net/netfilter/nf_conntrack_count": {func(b *TCPBooks) { b.Tracked, b.MaxTracked = 0, 0 }, ""}, // nothing is tracked
		"net/sockstat":                         {func(b *TCPBooks) { b.Alloc, b.Orphans, b.TimeWait, b.Pages, b.InUse = 0, 0, 0, 0, 0 }, "/net/sockstat"},
		"net/sockstat6":                        {func(b *TCPBooks) { b.InUse = 120 }, ""}, // no IPv6
		"meminfo":                              {func(b *TCPBooks) { b.SlabBytes, b.MemTotal = 0, 0 }, "/meminfo"},
		"sys/net/ipv4/tcp_max_orphans":         {func(b *TCPBooks) { b.MaxOrphans, b.MaxTimeWait = 0, 0 }, "tcp_max_orphans"},
		"sys/net/ipv4/tcp_max_tw_buckets":      {func(b *TCPBooks) { b.MaxTimeWait = 0 }, "tcp_max_tw_buckets"},
	} {
		t.Run(file, func(t *testing.T) {
			want := testBooks
			change.b(&want)
			got, errs := TCPBooksBelow(testProc(t, file))
			if got != want {
				t.Errorf("got\n%+v, want\n%+v", got, want)
			}
			if change.say == "" && len(errs) > 0 || change.say != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), change.say)) {
				t.Errorf("the errors are %v", errs)
			}
		})
	}
}

func TestBooksOfAnotherShapeAreErrors(t *testing.T) {
	for name, c := range map[string]struct{ file, text, say string }{
		"no TCP":              {"net/sockstat", "sockets: used 4\n", "no whole line of TCP"},
		"no alloc":            {"net/sockstat", "TCP: inuse 1 orphan 0 tw 0\n", "no whole line of TCP"},
		"not a number":        {"net/sockstat", "TCP: inuse much orphan 0 tw 0 alloc 1 mem 1\n", "net/sockstat"},
		"two limits of three": {"sys/net/ipv4/tcp_mem", "1 2\n", "tcp_mem"},
		"no TCP in slabinfo":  {"slabinfo", "dentry 1 48 192 16 8 : tunables 0 0 0 : slabdata 1 3 0\n", "no cache TCP"},
	} {
		t.Run(name, func(t *testing.T) {
			proc, slab := testProc(t)
			if err := os.WriteFile(filepath.Join(proc, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, errs := TCPBooksBelow(proc, slab); len(errs) != 1 || !strings.Contains(errs[0].Error(), c.say) {
				t.Errorf("the errors are %v, want one that says %q", errs, c.say)
			}
		})
	}
}

func TestMergedCachesAreCountedOnceAndSaid(t *testing.T) {
	proc, _ := testProc(t)
	if err := os.WriteFile(filepath.Join(proc, "slabinfo"), []byte("first 500 510 2496 13 8 : tunables 0 0 0 : slabdata 4 4 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	slab := sysKernelSlab(t, []string{":0002496"}, map[string]string{"first": ":0002496", "TCP": ":0002496", "TCPv6": ":0002496"})
	got, errs := TCPBooksBelow(proc, slab)
	if got.TCPSocks != 500 || !got.TCPSocksShared || len(errs) > 0 {
		t.Errorf("got %+v, %v", got, errs)
	}
}

// Others on the host may open and close theirs meanwhile.
func TestRunningKernelsBooksHaveTheSocketsOfThisTest(t *testing.T) {
	const n = 200
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	b, errs := ReadTCPBooks()
	if b.Alloc < n || b.InUse < n || b.TCPSocks < n {
		t.Errorf("there are %d listeners in %+v", n, b)
	}
	if len(errs) > 0 || b.MemTotal <= b.SlabBytes || b.PageLimits[2] == 0 || b.MaxOrphans == 0 || b.MaxTimeWait == 0 {
		t.Errorf("got %+v, %v", b, errs)
	}
}
