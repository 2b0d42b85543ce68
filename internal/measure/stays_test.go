package measure

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// Sockets that are in no table are found by what they hold in slab memory. Only TCP has objects in its caches, and what other programs'
// listed sockets have there is taken out: they may do what they like meanwhile.
func TestAnObjectThatStaysIsNamed(t *testing.T) {
	const n = 2000
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	m, err := Start(Config{Networks: []loader.Netns{network}, Endpoints: n, SampleInterval: 1000, Others: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Baseline(); err != nil {
		t.Fatal(err)
	}
	taken := func(take func() (account.Stock, error)) account.Stock {
		t.Helper()
		s, err := take()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	stays := account.Stays{Closed: n}
	for range 3 {
		stays.Idle = append(stays.Idle, taken(m.Stock))
		time.Sleep(100 * time.Millisecond)
	}
	stays.Before = taken(m.StockAfterRCU)
	var open []int
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, fd)
	}
	stays.Last = time.Now()
	stays.Moments = append(stays.Moments, taken(m.StockAtOnce))
	for _, fd := range open {
		if err := unix.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	stays.Moments = append(stays.Moments, taken(m.StockAfterRCU))
	caches, err := m.StayCaches(stays.Moments[1].Slabs)
	if err != nil {
		t.Fatal(err)
	}
	s := stays.Fill(caches)
	i := slices.IndexFunc(s.Caches, func(c recording.StayCache) bool { return c.Cache == "TCP" })
	if i < 0 || !slices.Contains(s.Caches[i].Types, "tcp_sock") {
		t.Fatalf("no cache of TCP's socks among %+v", s.Caches)
	}
	c := &s.Caches[i]
	within := func(moment int, want int64) bool {
		off := c.Left[moment] - want
		return max(off, -off) <= c.Errors[moment]+n/20
	}
	if !within(0, n) || c.Stay(0) == 0 || !within(1, 0) {
		t.Errorf("%+v, want %d socks that stay while they are open, and none afterwards", c, n)
	}
	if !s.Moments[1].AfterRCU || s.Moments[0].AfterRCU {
		t.Errorf("RCU was waited for: %+v", s.Moments)
	}
}
