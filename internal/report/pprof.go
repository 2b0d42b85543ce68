package report

import (
	"fmt"
	"io"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/internal/recording"
)

// Pprof writes a gzipped profile for `go tool pprof`: objects and page bytes by call path, the object type as the leaf
// function, and role, type and cache as labels.
func Pprof(w io.Writer, r *recording.Recording) error {
	p := newProfile(r)
	for _, s := range pathsOf(r) {
		p.sample(s, toInt64(s.count), toInt64(s.bytes))
	}
	return p.write(w)
}

// DiffPprof writes the newer recording less the older one, as `go tool pprof -base` would leave it: what shrank is
// negative. Where the numbers of endpoints differ, the old figures are scaled to the new number.
func DiffPprof(w io.Writer, older, newer *recording.Recording) error {
	p := newProfile(newer)
	for _, s := range diffPaths(older, newer) {
		objects := toInt64(s.count) - toInt64(s.oldCount)
		bytes := toInt64(s.bytes) - toInt64(s.oldBytes)
		if objects != 0 || bytes != 0 {
			p.sample(s, objects, bytes)
		}
	}
	return p.write(w)
}

// pprofBuilder gives each function name one function and one location, as the format wants.
type pprofBuilder struct {
	profile   *profile.Profile
	locations map[string]*profile.Location
}

func newProfile(r *recording.Recording) *pprofBuilder {
	p := &profile.Profile{
		SampleType:        []*profile.ValueType{{Type: "objects", Unit: "count"}, {Type: "page_bytes", Unit: "bytes"}},
		DefaultSampleType: "page_bytes",
		Comments:          []string{"connprof: slab memory of TCP endpoints, Linux " + kernels(r)},
		// Without a mapping that has its functions, pprof would look for a binary to symbolise from.
		Mapping: []*profile.Mapping{{ID: 1, File: "[kernel]", HasFunctions: true}},
	}
	if !r.Created.IsZero() {
		p.TimeNanos = r.Created.UnixNano()
	}
	return &pprofBuilder{p, map[string]*profile.Location{}}
}

func (b *pprofBuilder) sample(s *path, objects, bytes int64) {
	locations := []*profile.Location{b.location(s.objectType)}
	for i := len(s.frames) - 1; i >= 0; i-- {
		locations = append(locations, b.location(s.frames[i]))
	}
	b.profile.Sample = append(b.profile.Sample, &profile.Sample{
		Location: locations,
		Value:    []int64{objects, bytes},
		Label:    map[string][]string{"role": {s.role.String()}, "type": {s.objectType}, "cache": {s.cache}},
	})
}

func (b *pprofBuilder) location(name string) *profile.Location {
	if l := b.locations[name]; l != nil {
		return l
	}
	id := uint64(len(b.locations) + 1)
	f := &profile.Function{ID: id, Name: name, SystemName: name}
	l := &profile.Location{ID: id, Mapping: b.profile.Mapping[0], Line: []profile.Line{{Function: f}}}
	b.profile.Function = append(b.profile.Function, f)
	b.profile.Location = append(b.profile.Location, l)
	b.locations[name] = l
	return l
}

func (b *pprofBuilder) write(w io.Writer) error {
	if err := b.profile.CheckValid(); err != nil {
		return fmt.Errorf("build pprof profile: %w", err)
	}
	if err := b.profile.Write(w); err != nil {
		return fmt.Errorf("write pprof profile: %w", err)
	}
	return nil
}
