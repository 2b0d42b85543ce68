package loader

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

func loadLive(t testing.TB) *Probes {
	t.Helper()
	return load(t, Config{Hooks: WalkOnly, Live: true})
}

func TestALookFindsWhatTheKernelLists(t *testing.T) {
	p, k := loadLive(t), openKinds(t)
	states := map[kernel.State]int{}
	want := map[listed]int{}
	for _, l := range listedIn(t, k.Private) {
		want[l]++
		states[l.state]++
	}
	// The listener's client, server and orphan; three of these have the other end in the table, the orphan's FIN is stuck.
	if states[kernel.StateListen] != 1 || states[kernel.StateEstablished] != 7 || states[kernel.StateTimeWait] != 1 || states[4] != 1 {
		t.Fatalf("the kernel lists %v: the test would prove little", states)
	}
	for _, e := range lookAt(t, p, k.Private, p.WalkAll) {
		l := asListed(e)
		if want[l]--; want[l] < 0 {
			t.Errorf("the look finds %+v (%+v), which the kernel does not list", l, e)
		}
	}
	for l, n := range want {
		if n > 0 {
			t.Errorf("the look does not find %+v", l)
		}
	}
}

// The iterator and the pass over the hash tables follow the same objects by other means. An endpoint that the iterator finds
// the same before and afterwards is at rest: what is sent again can be cut.
func TestEachWayOfWalkingFindsTheSame(t *testing.T) {
	p, k := loadLive(t), openKinds(t)
	bySock := func(list []kernel.Endpoint) map[uint64]kernel.Endpoint {
		m := map[uint64]kernel.Endpoint{}
		for _, e := range list {
			e.Live.Idle, e.Live.Age = min(e.Live.Idle, 0), min(e.Live.Age, 0) // time goes by; not known stays
			m[e.Sock] = e
		}
		return m
	}
	for name, walk := range map[string]func(func(*kernel.Endpoint) error) (Coverage, error){"WalkAll": p.WalkAll, "walkEach": p.walkEach} {
		before := bySock(endpoints(t, p, k.Private))
		list := lookAt(t, p, k.Private, walk)
		after := bySock(endpoints(t, p, k.Private))
		got := bySock(list)
		if len(list) != len(after) || len(got) != len(after) {
			t.Errorf("%s: %d endpoints, %d different ones, want %d", name, len(list), len(got), len(after))
		}
		atRest := 0
		for sock, e := range after {
			if before[sock] != e {
				continue
			}
			atRest++
			if got[sock] != e {
				t.Errorf("%s:\n%+v, want\n%+v", name, got[sock], e)
			}
		}
		if len(after) != 10 || atRest < 6 {
			t.Errorf("%s: %d of %d endpoints are at rest: the test proves little", name, atRest, len(after))
		}
	}
}

func TestAListenerTellsItsQueueAndAConnectionItsTimes(t *testing.T) {
	begun := time.Now()
	p, k := loadLive(t), openKinds(t)
	info, err := unix.GetsockoptTCPInfo(k.listener, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	before := lastData(t, k.client)
	list := lookAt(t, p, k.Private, p.WalkAll)
	after := lastData(t, k.client)
	listener := find(t, list, kindsPort, 0)
	// TCP_INFO has no fields of its own for a listener (tcp_get_info).
	if l := listener.Live; l.AcceptQueue != info.Unacked || l.AcceptMax != info.Sacked || l.AcceptQueue != 2 || l.AcceptMax != 16 ||
		l.Idle >= 0 || l.Age >= 0 {
		t.Errorf("the listener is %+v, TCP_INFO says %d of %d wait", l, info.Unacked, info.Sacked)
	}
	tick := time.Duration(p.tick) + time.Millisecond // TCP_INFO is in whole milliseconds
	client := find(t, list, localPort(t, k.client), kindsPort).Live
	if client.Idle < before-tick || client.Idle > after+tick {
		t.Errorf("idle for %v, TCP_INFO says %v before and %v afterwards", client.Idle, before, after)
	}
	if client.Age < client.Idle || client.Age > time.Since(begun)+tick {
		t.Errorf("%v old at least, idle for %v, made at most %v ago", client.Age, client.Idle, time.Since(begun))
	}
	for _, e := range list {
		if e.State == kernel.StateTimeWait && (e.Live.Idle >= 0 || e.Live.Age >= 0) {
			t.Errorf("TIME_WAIT tells times that it does not have: %+v", e.Live)
		}
	}
}

// lastData is how long ago data was last sent or received.
func lastData(t *testing.T, fd int) time.Duration {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(min(info.Last_data_sent, info.Last_data_recv)) * time.Millisecond
}

func TestPagesOfThePageCacheAreToldFromCopies(t *testing.T) {
	p, k := loadLive(t), openKinds(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.SetNonblock(k.client, true); err != nil {
		t.Fatal(err)
	}
	var offset int64
	if n, err := unix.Sendfile(k.client, int(file.Fd()), &offset, 256<<10); err != nil || n == 0 {
		t.Fatalf("sendfile: %d bytes, error %v", n, err)
	}
	k.settle(t)
	list := lookAt(t, p, k.Private, p.WalkAll)
	port := localPort(t, k.client)
	sent, copied := find(t, list, port, kindsPort).Live, find(t, list, kindsPort, port).Live
	// What lies in the send queue is what SIOCOUTQ says.
	queued, err := unix.IoctlGetInt(k.client, unix.SIOCOUTQ)
	if err != nil {
		t.Fatal(err)
	}
	if queued == 0 || sent.PageCache != uint32(queued) || sent.Unacked != uint32(queued) {
		t.Errorf("%d bytes of the page cache of %d not acknowledged, SIOCOUTQ says %d", sent.PageCache, sent.Unacked, queued)
	}
	if copied.PageCache != 0 || copied.Unacked == 0 {
		t.Errorf("%d bytes of the page cache of %d copied ones", copied.PageCache, copied.Unacked)
	}
}

func TestAnEndpointTellsWhoMadeIt(t *testing.T) {
	p, n := loadLive(t), private(t)
	const user = 4321
	var fd int
	in(t, n, func() (err error) {
		was, err := unix.SetfsuidRetUid(user)
		if err != nil {
			return err
		}
		defer unix.Setfsuid(was) //nolint:errcheck // it is what the thread had
		fd, err = listenOn(kindsPort)
		return err
	})
	defer unix.Close(fd)
	e := find(t, lookAt(t, p, n, p.WalkAll), kindsPort, 0)
	if e.Live.UID != user || e.Live.Cgroup != ownCgroup(t) {
		t.Errorf("made by user %d in cgroup %d, want %d in %d", e.Live.UID, e.Live.Cgroup, user, ownCgroup(t))
	}
}

// ownCgroup is the ID of this process's cgroup in the unified hierarchy, the inode of its directory.
func ownCgroup(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	path := "/"
	for _, line := range strings.Split(string(text), "\n") {
		if p, ok := strings.CutPrefix(line, "0::"); ok {
			path = p
		}
	}
	if path == "/" {
		return 1
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // the directory cannot be removed otherwise, which the test says
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, path), &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

// Messages that end a record are in an sk_buff each, which nobody acknowledges.
func TestALongQueueIsCounted(t *testing.T) {
	p, n := loadLive(t), private(t)
	const some = 1000
	var listener, client, server int
	in(t, n, func() (err error) {
		if listener, err = listenOn(kindsPort); err == nil {
			client, server, err = pair(listener, kindsPort, func(int) error { return nil })
		}
		return errors.Join(err, hearNothing(server), unix.SetsockoptInt(client, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20))
	})
	for _, fd := range []int{listener, client, server} {
		defer unix.Close(fd)
	}
	for range some {
		if err := unix.Sendmsg(client, make([]byte, 100), nil, nil, unix.MSG_EOR|unix.MSG_DONTWAIT); err != nil {
			t.Fatal(err)
		}
	}
	e := find(t, lookAt(t, p, n, p.WalkAll), localPort(t, client), kindsPort)
	if e.Objects[kernel.SKBuffFclones] != some || e.Objects[kernel.SKBHead] != some || e.Truncated || e.Live.Unacked != 100*some {
		t.Errorf("%d clone pairs and %d heads, truncated %v, of %d messages: %+v", e.Objects[kernel.SKBuffFclones],
			e.Objects[kernel.SKBHead], e.Truncated, some, e)
	}
	types, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	if e.Scaled == hasLoop(types) {
		t.Errorf("scaled %v on a kernel with bpf_loop() %v", e.Scaled, hasLoop(types))
	}
}
