package export

import (
	"fmt"
	"io"
	"math"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/internal/report"
)

// Pprof writes a gzipped profile for `go tool pprof`: objects and page bytes by call path, the object type as the leaf
// function, and role, type and cache as labels. Of a look at a host it has sockets and bytes by owner, state and object, and of a
// record connections and bytes by the code that opened them.
type Pprof struct{}

// Write has a sample for each path.
func (Pprof) Write(w io.Writer, r *report.Report) error {
	if samples := r.CodeSamples(); len(samples) > 0 {
		return writeCode(w, r, samples, false)
	}
	samples := r.Samples()
	p := newProfile(r, held(samples))
	for _, s := range samples {
		p.sample(s, toInt64(s.Count), toInt64(s.Bytes))
	}
	return p.write(w)
}

// WriteDiff writes the newer recording less the older one, as `go tool pprof -base` would leave it: what shrank is negative.
// Where the numbers of endpoints differ, the old figures are scaled to the new number.
func (Pprof) WriteDiff(w io.Writer, d *report.Diff) error {
	if samples := d.CodeSamples(); len(samples) > 0 {
		return writeCode(w, d.Newer, samples, true)
	}
	p := newProfile(d.Newer, held(d.Paths))
	for _, s := range d.Paths {
		objects := toInt64(s.Count) - toInt64(s.OldCount)
		bytes := toInt64(s.Bytes) - toInt64(s.OldBytes)
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

// held tells whether paths are what owners hold, and no call paths.
func held(paths []*report.Path) bool { return len(paths) > 0 && paths[0].Of != nil }

func newProfile(r *report.Report, held bool) *pprofBuilder {
	count, bytes, of := "objects", "page_bytes", "slab memory of TCP endpoints"
	if held {
		count, bytes, of = "sockets", "bytes", "memory of TCP sockets by owner"
	}
	p := &profile.Profile{
		SampleType:        []*profile.ValueType{{Type: count, Unit: "count"}, {Type: bytes, Unit: "bytes"}},
		DefaultSampleType: bytes,
		Comments:          []string{"connprof: " + of + ", Linux " + r.Kernels},
		// Without a mapping that has its functions, pprof would look for a binary to symbolise from.
		Mapping: []*profile.Mapping{{ID: 1, File: "[kernel]", HasFunctions: true}},
	}
	if !r.Recording.Created.IsZero() {
		p.TimeNanos = r.Recording.Created.UnixNano()
	}
	return &pprofBuilder{p, map[string]*profile.Location{}}
}

func (b *pprofBuilder) sample(s *report.Path, objects, bytes int64) {
	locations := []*profile.Location{b.location(s.Type)}
	for i := len(s.Frames) - 1; i >= 0; i-- {
		locations = append(locations, b.location(s.Frames[i]))
	}
	b.profile.Sample = append(b.profile.Sample, &profile.Sample{
		Location: locations,
		Value:    []int64{objects, bytes},
		Label:    labels(s),
	})
}

// labels are what go tool pprof can focus on.
func labels(s *report.Path) map[string][]string {
	if s.Of == nil {
		return map[string][]string{"role": {s.Role.String()}, "type": {s.Type}, "cache": {s.Cache}}
	}
	all := map[string][]string{}
	for name, value := range map[string]string{"role": s.Role.String(), "object": s.Type, "cache": s.Cache, "owner": s.Of.Owner,
		"state": s.Of.State, "container": s.Of.Container, "cgroup": s.Of.Cgroup, "netns": s.Of.Netns, "listener": s.Of.Listener,
		"service": s.Of.Service} {
		if value != "" {
			all[name] = []string{value}
		}
	}
	return all
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

// toInt64 is for formats that hold signed figures: what does not fit becomes the largest that does.
func toInt64(u uint64) int64 {
	if u > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(u)
}
