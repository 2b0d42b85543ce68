package loader

import (
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

// What is asked for is as it is when all is; what is not has the figures of the books alone. Either way of walking keeps to it.
func TestWhatIsNotAskedForIsPassedInTheKernel(t *testing.T) {
	k := openKinds(t)
	all := loadLive(t)
	whole := lookAt(t, all, k.Private, all.WalkAll)
	port := localPort(t, k.client)
	own := k.Private.Inode()
	many := make([]uint16, MostAsked+1)
	full := func(e *kernel.Endpoint) bool { // what hangs on a request sock or one in TIME_WAIT is nothing
		return e.Objects[kernel.TCPSock] > 0 && e.State != kernel.StateListen
	}
	for name, c := range map[string]struct {
		asked Asked
		is    func(*kernel.Endpoint) bool
	}{
		"all":               {Asked{}, func(*kernel.Endpoint) bool { return true }},
		"a namespace":       {Asked{Netns: []uint32{own}}, func(*kernel.Endpoint) bool { return true }},
		"another namespace": {Asked{Netns: []uint32{own + 1, 1}}, func(*kernel.Endpoint) bool { return false }},
		"a port, local or remote": {Asked{Ports: []uint16{1, port}}, func(e *kernel.Endpoint) bool {
			return e.Local.Port() == port || e.Remote.Port() == port
		}},
		"a state": {Asked{States: []kernel.State{4}}, func(e *kernel.Endpoint) bool { return e.State == 4 }},
		"a port and a state": {Asked{Ports: []uint16{port}, States: []kernel.State{kernel.StateListen}},
			func(*kernel.Endpoint) bool { return false }},
		"more than the kernel takes": {Asked{Ports: many}, func(*kernel.Endpoint) bool { return true }},
	} {
		p := load(t, Config{Hooks: WalkOnly, Live: true, Asked: c.asked})
		for way, walk := range map[string]func(func(*kernel.Endpoint) error) (Coverage, error){"WalkAll": p.WalkAll, "walkEach": p.walkEach} {
			got := lookAt(t, p, k.Private, walk)
			if len(got) != len(whole) {
				t.Errorf("%s, %s: %d endpoints, want %d", name, way, len(got), len(whole))
			}
			for i := range got {
				e := &got[i]
				j := slices.IndexFunc(whole, func(w kernel.Endpoint) bool { return w.Sock == e.Sock })
				if j < 0 {
					continue
				}
				if want := full(e) && !c.is(e); e.Passed != want {
					t.Errorf("%s, %s: %s to %s in %s is passed: %v, want %v", name, way, e.Local, e.Remote, e.State, e.Passed, want)
				}
				w := whole[j]
				if e.Passed && (e.Buffers != w.Buffers || e.Objects[kernel.TCPSock] != 1 || e.File != 0 || e.Objects[kernel.File] != 0 || e.Cache != w.Cache) ||
					!e.Passed && (e.File != w.File || e.Objects != w.Objects) {
					t.Errorf("%s, %s:\n%+v, and when all is asked for\n%+v", name, way, *e, w)
				}
			}
		}
	}
}
