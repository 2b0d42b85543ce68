// Package naming names the code of a recording that had no names when it was made, from files with the same build IDs.
package naming

import (
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/symbolise"
)

// Source names the functions at an address of the file with a build ID, those that were inlined first; nil where it has no name.
type Source interface {
	Name(buildID string, address uint64) []symbolise.Frame
}

// Fill gives names to those places in code that have none. It tells how many have got one, and how many have none still.
func Fill(r *recording.Recording, from Source) (named, left int) {
	for _, m := range r.Machines {
		n, without := fill(m, from)
		named, left = named+n, left+without
	}
	return named, left
}

func fill(m *recording.Machine, from Source) (named, left int) {
	places := map[int][]int{} // what a place has become, root first
	for i := range m.Locations {
		at := m.Locations[i]
		if at.Function != "" {
			continue
		}
		frames := []symbolise.Frame(nil)
		if at.BuildID != "" {
			frames = from.Name(at.BuildID, at.Address)
		}
		if len(frames) == 0 {
			left++
			continue
		}
		named++
		for k := len(frames) - 1; k >= 0; k-- {
			f := frames[k]
			at.Function, at.File, at.Line, at.Inlined = f.Function, f.File, f.Line, f.Inlined
			if k == len(frames)-1 {
				m.Locations[i] = at
				places[i] = []int{i}
				continue
			}
			places[i] = append(places[i], len(m.Locations))
			m.Locations = append(m.Locations, at)
		}
	}
	for i := range m.Openers {
		rename(&m.Openers[i], m.Locations, places)
	}
	return named, left
}

// rename puts the places that others have become into an opener's stack. A stack that is not as long as its names stays as it is.
func rename(o *recording.Opener, locations []recording.Location, places map[int][]int) {
	if len(o.Frames) != len(o.Locations) {
		return
	}
	var frames []string
	var numbers []int
	for i, n := range o.Locations {
		now, changed := places[n]
		if !changed {
			frames, numbers = append(frames, o.Frames[i]), append(numbers, n)
			continue
		}
		for _, n := range now {
			frames, numbers = append(frames, locations[n].Function), append(numbers, n)
		}
	}
	o.Frames, o.Locations = frames, numbers
}
