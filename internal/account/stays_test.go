package account

import (
	"slices"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// at is a moment of a made-up run, in seconds.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// stock is a moment at which the kernel's caches hold what the endpoints do, and more objects of some.
func stock(c *Caches, seconds float64, more map[string]int64, own, foreign []*kernel.Endpoint) Stock {
	s := Stock{At: at(seconds), Slabs: Snapshot{SlabBytes: 1 << 20, Slabs: testSlabs()}, First: NewSockets(), Then: NewSockets()}
	for _, sockets := range []*Sockets{s.First, s.Then} {
		for _, e := range own {
			sockets.Visit(e, true)
		}
		for _, e := range foreign {
			sockets.Visit(e, false)
		}
	}
	held := s.Then.All.byCache(c)
	for name, slab := range s.Slabs.Slabs {
		slab.ActiveObjects = uint64(1000 + held[name].objects + more[name])
		s.Slabs.Slabs[name] = slab
		s.Slabs.SlabBytes += slab.ActiveObjects * slab.ObjectBytes
	}
	return s
}

func cacheOf(t *testing.T, s *recording.Stays, name string) *recording.StayCache {
	t.Helper()
	i := slices.IndexFunc(s.Caches, func(c recording.StayCache) bool { return c.Cache == name })
	if i < 0 {
		t.Fatalf("%s is not among %+v", name, s.Caches)
	}
	return &s.Caches[i]
}

// timeWaiting is a client's end in TIME_WAIT.
func timeWaiting(n int) *kernel.Endpoint {
	e := client(n)
	e.State, e.Cache = kernel.StateTimeWait, cacheTW
	e.Objects = [kernel.NumObjectTypes]uint16{kernel.TimewaitSock: 1}
	return e
}

// closedOne is a run that was watched for 60 s before, and of which two connections are closed: one end is in TIME_WAIT for some time,
// and a dentry of each stays.
func closedOne(c *Caches) Stays {
	foreign := []*kernel.Endpoint{client(30), server(30)}
	more := func(filp int64) map[string]int64 { return map[string]int64{"filp": filp} }
	return Stays{Closed: 2, Took: time.Second, Last: at(100),
		Idle:   []Stock{stock(c, 0, more(0), nil, foreign), stock(c, 30, more(7), nil, foreign), stock(c, 60, more(-3), nil, nil)},
		Before: stock(c, 60, nil, nil, nil),
		Moments: []Stock{
			stock(c, 100, map[string]int64{"dentry": 2, "filp": 9, "sock_inode_cache": 4}, []*kernel.Endpoint{timeWaiting(1), timeWaiting(2)}, foreign),
			stock(c, 180, map[string]int64{"dentry": 2, "filp": 19}, nil, nil),
		}}
}

func TestWhatStaysIsNamedAndTimeWaitIsApart(t *testing.T) {
	c := testCaches()
	s := closedOne(c).Fill(c)
	if s.Closed != 2 || s.CloseSeconds != 1 || len(s.Moments) != 2 || s.Moments[0].TimeWait != 2 || s.Moments[1].TimeWait != 0 ||
		s.Moments[1].Seconds != 80 || s.Moments[0].Others != 0 {
		t.Errorf("%+v", s)
	}
	if s.Idle != (recording.Idle{Seconds: 60, Readings: 3}) {
		t.Errorf("watched for %+v", s.Idle)
	}
	dentry := cacheOf(t, s, "dentry")
	if !slices.Equal(dentry.Left, []int64{2, 2}) || dentry.Stay(1) != 2 || !slices.Equal(dentry.Types, []string{"dentry"}) {
		t.Errorf("dentries: %+v", dentry)
	}
	if s.Caches[0].Cache != "dentry" {
		t.Errorf("%s is before what stays", s.Caches[0].Cache)
	}
	waiting := cacheOf(t, s, "tw_sock_TCP")
	if !slices.Equal(waiting.Left, []int64{0, 0}) || !slices.Equal(waiting.InSockets, []int64{2, 0}) {
		t.Errorf("in TIME_WAIT: %+v", waiting)
	}
	if socks := cacheOf(t, s, "TCP"); !slices.Equal(socks.Left, []int64{0, 0}) {
		t.Errorf("others' sockets are among what stays: %+v", socks)
	}
	if inodes := cacheOf(t, s, "sock_inode_cache"); !slices.Equal(inodes.Left, []int64{4, 0}) || inodes.Stay(0) != 4 || inodes.Stay(1) != 0 {
		t.Errorf("inodes that are freed late: %+v", inodes)
	}
}

// The watch has seen 10 files more or fewer within 60 s: so within 40, and 20 within 120.
func TestTheErrorIsWhatTheHostDoesByItselfInThatTime(t *testing.T) {
	c := testCaches()
	s := closedOne(c).Fill(c)
	files := cacheOf(t, s, "filp")
	if !slices.Equal(files.Errors, []int64{10, 20}) || !slices.Equal(files.Left, []int64{9, 19}) || files.Stay(0) != 0 || files.Stay(1) != 0 {
		t.Errorf("%+v", files)
	}
	if dentry := cacheOf(t, s, "dentry"); !slices.Equal(dentry.Errors, []int64{0, 0}) {
		t.Errorf("%+v", dentry)
	}
	if s.Moments[0].ErrorBytes <= 0 || s.Moments[1].ErrorBytes != 2*s.Moments[0].ErrorBytes {
		t.Errorf("the error of Slab is %d, then %d bytes", s.Moments[0].ErrorBytes, s.Moments[1].ErrorBytes)
	}
}

// While TIME_WAIT ends, sockets go between the walk and the reading of slab memory.
func TestSocketsThatGoMeanwhileAreAnError(t *testing.T) {
	c := testCaches()
	stays := closedOne(c)
	stays.Moments[0].First = NewSockets()
	for n := range 5 {
		stays.Moments[0].First.Visit(timeWaiting(n+1), true)
	}
	s := stays.Fill(c)
	if waiting := cacheOf(t, s, "tw_sock_TCP"); !slices.Equal(waiting.Errors, []int64{3, 0}) {
		t.Errorf("%+v", waiting)
	}
}

func TestWithoutAWatchTheErrorIsNotKnownToBeMore(t *testing.T) {
	c := testCaches()
	stays := closedOne(c)
	stays.Idle = nil
	s := stays.Fill(c)
	if s.Idle.Readings != 0 || cacheOf(t, s, "filp").Stay(1) != 19 {
		t.Errorf("%+v", s)
	}
}

// At once, free places of caches that no endpoint has objects in may count as objects.
func TestWhatIsNotSettledIsNotTold(t *testing.T) {
	c := testCaches()
	for _, atOnce := range []bool{true, false} {
		stays := closedOne(c)
		stays.Moments[0] = stock(c, 100, map[string]int64{"kmalloc-64": 50}, nil, nil)
		stays.Moments[0].AtOnce = atOnce
		s := stays.Fill(c)
		told := slices.ContainsFunc(s.Caches, func(c recording.StayCache) bool { return c.Cache == "kmalloc-64" })
		if told == atOnce || s.Moments[0].AtOnce != atOnce {
			t.Errorf("at once %t: told %t, moments %+v", atOnce, told, s.Moments)
		}
	}
}
