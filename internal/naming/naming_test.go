package naming

import (
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/symbolise"
)

type names map[uint64][]symbolise.Frame

func (n names) Name(buildID string, address uint64) []symbolise.Frame {
	if buildID != "beef" {
		return nil
	}
	return n[address]
}

func TestPlacesWithoutANameGetOne(t *testing.T) {
	m := &recording.Machine{Locations: []recording.Location{{Function: "main"}, {BuildID: "beef", Address: 16}, {BuildID: "cafe", Address: 16},
		{Module: "leaf"}},
		Openers: []recording.Opener{{Frames: []string{"main", "lib+0x10", "other+0x10", "leaf+0x0"}, Locations: []int{0, 1, 2, 3}},
			{Frames: []string{"lib+0x10"}, Locations: []int{1, 7}}, {Frames: []string{}, Locations: nil}}}
	named, left := Fill(&recording.Recording{Machines: []*recording.Machine{m}},
		names{16: {{Function: "inner", Inlined: true, File: "a.c", Line: 3}, {Function: "outer", File: "a.c", Line: 9}}})
	if named != 1 || left != 2 {
		t.Errorf("%d named, %d left", named, left)
	}
	if got := m.Openers[0].Frames; !slices.Equal(got, []string{"main", "outer", "inner", "other+0x10", "leaf+0x0"}) {
		t.Errorf("frames %q", got)
	}
	places := m.Openers[0].Locations
	if inner := m.Locations[places[2]]; inner.Function != "inner" || !inner.Inlined || inner.Address != 16 || inner.Line != 3 {
		t.Errorf("the inlined function is %+v", inner)
	}
	if got := m.Openers[1].Frames; !slices.Equal(got, []string{"lib+0x10"}) {
		t.Errorf("a stack whose names and places differ became %q", got)
	}
}
