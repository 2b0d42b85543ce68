package loader

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func TestASetHasItsHooksAndNoOthers(t *testing.T) {
	life := []kernel.HookName{kernel.HookConnect, kernel.HookAccept, kernel.HookState, kernel.HookDestroy, kernel.HookWalk}
	for set, want := range map[HookSet][]kernel.HookName{
		Full:     slices.Insert(slices.Clone(life), 4, kernel.HookSlab),
		Life:     life,
		WalkOnly: {kernel.HookWalk},
	} {
		var got []kernel.HookName
		for _, h := range load(t, Config{Hooks: set}).Hooks() {
			got = append(got, h.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("set %d has hooks %v, want %v", set, got, want)
		}
	}
}

func TestAWalkAloneLoadsOneProgramAndAttachesNothing(t *testing.T) {
	place := &place{Private: private(t)}
	place.open(t)
	defer place.close()
	full := socksOf(endpoints(t, load(t, Config{}), place.Private))
	programs, links := bpfDescriptors(t, "bpf-prog"), bpfDescriptors(t, "bpf_link")
	p := load(t, Config{Hooks: WalkOnly})
	if n := bpfDescriptors(t, "bpf-prog") - programs; n != 1 {
		t.Errorf("%d programs loaded, want 1", n)
	}
	if n := bpfDescriptors(t, "bpf_link") - links; n != 0 {
		t.Errorf("%d links attached, want none", n)
	}
	alone := socksOf(endpoints(t, p, place.Private))
	if !slices.Equal(alone, full) || len(alone) != 3 {
		t.Errorf("a walk alone finds %x, one beside all hooks %x, want the same three", alone, full)
	}
	if n := bpfDescriptors(t, "bpf_link") - links; n != 0 {
		t.Errorf("%d links after the walk, want none", n)
	}
}

func TestALookLoadsItsHooksAndAttachesNothing(t *testing.T) {
	links := bpfDescriptors(t, "bpf_link")
	p := loadLive(t)
	var got []kernel.HookName
	for _, h := range p.Hooks() {
		got = append(got, h.Name)
		if h.Kind != kernel.KindIterator && h.Kind != kernel.KindSyscall {
			t.Errorf("hook %+v", h)
		}
	}
	if want := []kernel.HookName{kernel.HookWalk, kernel.HookFiles, kernel.HookTables, kernel.HookPages}; !slices.Equal(got, want) {
		t.Errorf("hooks %v, want %v", got, want)
	}
	_, err := p.WalkAll(func(*kernel.Endpoint) error { return nil })
	pages, pagesErr := p.CPUPages()
	if err := errors.Join(err, pagesErr, p.OpenFiles(func(*kernel.OpenFile) error { return nil })); err != nil {
		t.Error(err)
	}
	if p.pages == nil && pages != 0 {
		t.Errorf("%d pages are kept by CPUs that keep none", pages)
	}
	if n := bpfDescriptors(t, "bpf_link") - links; n != 0 {
		t.Errorf("%d links after the look, want none", n)
	}
}

func socksOf(list []kernel.Endpoint) (socks []uint64) {
	for _, e := range list {
		socks = append(socks, e.Sock)
	}
	slices.Sort(socks)
	return socks
}

func TestWhatTheSetLeavesOutSaysWhichHookItNeeds(t *testing.T) {
	p := load(t, Config{Hooks: WalkOnly})
	_, _, sites := p.Sites()
	_, namespaces := p.Namespaces()
	_, walk := p.WalkAll(func(*kernel.Endpoint) error { return nil })
	_, pages := p.CPUPages()
	for what, c := range map[string]struct {
		err  error
		hook kernel.HookName
	}{
		"Sites":            {sites, kernel.HookSlab},
		"SetRoles":         {p.SetRoles(1, 2), kernel.HookSlab},
		"SampleSoftirqs":   {p.SampleSoftirqs(1), kernel.HookSlab},
		"CountVectors":     {p.CountVectors(1, 2), kernel.HookSlab},
		"TraceAllocations": {p.TraceAllocations(0), kernel.HookSlab},
		"OpenFiles":        {p.OpenFiles(func(*kernel.OpenFile) error { return nil }), kernel.HookFiles},
		"Namespaces":       {namespaces, kernel.HookTables},
		"WalkAll":          {walk, kernel.HookTables},
		"CPUPages":         {pages, kernel.HookPages},
		"Drain":            {p.Drain(context.Background(), &recorder{}), kernel.HookState},
	} {
		var missing *NotLoadedError
		if !errors.As(c.err, &missing) || missing.Hook != c.hook {
			t.Errorf("%s: error %v, want that the %s hook is not loaded", what, c.err, c.hook)
		}
	}
	if err := errors.Join(p.LeaveAllocations(), p.Detach()); err != nil {
		t.Errorf("there is nothing to take off, and yet %v", err)
	}
	if c, err := p.Counters(); err != nil || c != (Counters{}) {
		t.Errorf("counters %+v, error %v", c, err)
	}
	if _, err := p.MapBytes(); err != nil {
		t.Error(err)
	}
	if _, err := p.Caches(); err != nil {
		t.Error(err)
	}
}
