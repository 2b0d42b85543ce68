package loader

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// place is a network namespace with a listener and one connection, which are closed in the end.
type place struct {
	*netcfg.Private
	fds [3]int // listener, client, server
}

func (p *place) open(t *testing.T) {
	in(t, p.Private, func() (err error) {
		if p.fds[0], err = listenOn(8090); err == nil {
			p.fds[1], p.fds[2], err = pair(p.fds[0], 8090, func(int) error { return nil })
		}
		return err
	})
}

func (p *place) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
}

// traced opens and closes a connection in three namespaces. It returns the socks that the trace has seen come up and go, and
// those that a walk of all three has found in between, by namespace.
func traced(t *testing.T, scope func(places []*place) Scope) (opened, closed map[uint64]bool, walked [3]map[uint64]bool) {
	t.Helper()
	places := []*place{{Private: private(t)}, {Private: private(t)}, {Private: private(t)}}
	p := load(t, Config{Hooks: Life, Scope: scope(places)})
	r := &recorder{}
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan error)
	go func() { drained <- p.Drain(ctx, r) }()
	number := map[uint32]int{}
	var all []Netns
	for i, place := range places {
		place.open(t)
		walked[i] = map[uint64]bool{}
		number[place.Inode()] = i
		all = append(all, place)
	}
	if err := p.Walk(func(e *kernel.Endpoint) error {
		if e.State == kernel.StateEstablished {
			walked[number[e.Netns]][e.Sock] = true
		}
		return nil
	}, all...); err != nil {
		t.Fatal(err)
	}
	for _, place := range places {
		place.close()
	}
	cancel()
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	return socks(r.opened), socks(r.closed), walked
}

func socks(events []kernel.EndpointEvent) map[uint64]bool {
	set := map[uint64]bool{}
	for _, e := range events {
		set[e.Sock] = true
	}
	return set
}

func TestTheTraceIsThatOfTheScope(t *testing.T) {
	tests := map[string]struct {
		scope func([]*place) Scope
		in    [3]bool
	}{
		"none":    {func([]*place) Scope { return Scope{} }, [3]bool{}},
		"one":     {func(p []*place) Scope { return InNetns(p[1].Inode()) }, [3]bool{1: true}},
		"several": {func(p []*place) Scope { return InNetns(p[0].Inode(), p[2].Inode()) }, [3]bool{0: true, 2: true}},
		"all":     {func([]*place) Scope { return InAllNetns() }, [3]bool{true, true, true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			opened, closed, walked := traced(t, test.scope)
			n := 0
			for i, ends := range walked {
				if len(ends) != 2 {
					t.Errorf("the walk finds %d ends in namespace %d, want 2", len(ends), i)
				}
				for sock := range ends {
					if opened[sock] != test.in[i] || closed[sock] != test.in[i] {
						t.Errorf("namespace %d: opened %v, closed %v, want %v", i, opened[sock], closed[sock], test.in[i])
					}
				}
				if test.in[i] {
					n += len(ends)
				}
			}
			// All of the host's is more than ours.
			if len(opened) != n && name != "all" {
				t.Errorf("%d ends came up, want %d", len(opened), n)
			}
		})
	}
}

func TestAllocationsAreCountedInTheScopeOnly(t *testing.T) {
	const some = 200
	places := [3]*netcfg.Private{private(t), private(t), private(t)}
	tests := map[string]struct {
		scope Scope
		in    [3]bool
	}{
		"one":     {InNetns(places[1].Inode()), [3]bool{1: true}},
		"several": {InNetns(places[0].Inode(), places[2].Inode()), [3]bool{0: true, 2: true}},
		"all":     {InAllNetns(), [3]bool{true, true, true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := load(t, Config{Scope: test.scope})
			if err := p.SetRoles(0, 0); err != nil {
				t.Fatal(err)
			}
			for i, place := range places {
				before := allocations(t, p)
				in(t, place, allocate)
				if n := allocations(t, p) - before; (n >= some) != test.in[i] || !test.in[i] && n != 0 {
					t.Errorf("%d allocations counted in namespace %d, which is in the scope: %v", n, i, test.in[i])
				}
			}
		})
	}
}
