package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

// flooded is a recording with more of everything than a report shows. Its lists share their memory.
func flooded() *recording.Recording {
	r := sample.New()
	m := r.Machines[0]
	long := strings.Repeat("n", 1000)
	frames := make([]string, 1000)
	for i := range frames {
		frames[i] = fmt.Sprint(i, long)
	}
	m.Stacks = append(m.Stacks, recording.Stack{Role: kernel.RoleServer, Type: long, Bytes: 1 << 40, Frames: frames})
	for i := range 25_000 {
		m.Stacks = append(m.Stacks, recording.Stack{Role: kernel.RoleClient, Type: fmt.Sprint("type", i), Bytes: 1, Count: 1,
			Frames: frames[:20]})
	}
	objects := make([]recording.ObjectRow, 100)
	types := map[string]int{}
	for i := range objects {
		objects[i] = recording.ObjectRow{Type: fmt.Sprint("type", i, long), Cache: long, Count: 1, ObjectBytes: 1, PageBytes: 1}
		types[objects[i].Type] = 1
	}
	for i := range 200 {
		m.Endpoints = append(m.Endpoints, recording.EndpointRow{Role: kernel.RoleServer, State: fmt.Sprint(i, long), Count: 1,
			PageBytes: 100, Objects: objects})
		m.Top = append(m.Top, recording.TopEndpoint{Objects: types})
	}
	for i := range 3000 {
		m.Hooks = append(m.Hooks, recording.Hook{Note: long, Function: long})
		m.Notes = append(m.Notes, fmt.Sprint(i, long))
		m.Load.Failures = append(m.Load.Failures, recording.Failure{Error: long})
		m.Trace.CallSites = append(m.Trace.CallSites, recording.CallSite{Function: long})
		m.Reconcile.Caches = append(m.Reconcile.Caches, recording.CacheRow{Cache: long, SlabinfoDeltaBytes: 1})
		r.Command = append(r.Command, long)
	}
	return r
}

func TestEveryOutputIsBoundedAndSaysWhatItFolds(t *testing.T) {
	r := flooded()
	shown := report.New(r)
	const most = 24 << 20
	for name, f := range formats {
		var b bytes.Buffer
		if err := f.Write(&b, shown); err != nil {
			t.Fatal(err)
		}
		if b.Len() > most {
			t.Errorf("%s has %d MiB", name, b.Len()>>20)
		}
		if !strings.Contains(unzipped(t, b.String()), "others") {
			t.Errorf("%s does not speak of others", name)
		}
		t.Logf("%s: %d KiB", name, b.Len()>>10)
	}
	notes := strings.Join(shown.Notes, "\n")
	for _, said := range []string{`100 of 203 rows of endpoints and folds the rest into "others"`, "call paths and folds", `in "hooks" and leaves out the others`,
		`1,000 of 3,000 in "failures"`, `in "call_sites"`, `in "caches"`, `in "notes"`} {
		if !strings.Contains(notes, said) {
			t.Errorf("the notes do not say %q", said)
		}
	}
}

// What is folded is still in the sums.
func TestFoldingKeepsTheSums(t *testing.T) {
	r := flooded()
	want := map[kernel.Role][4]uint64{}
	for _, row := range r.Rows() {
		s := want[row.Role]
		want[row.Role] = [4]uint64{s[0] + uint64(row.Count), s[1] + row.PageBytes, s[2] + objectBytes(row), s[3]}
	}
	for _, s := range r.Stacks() {
		w := want[s.Role]
		w[3] += s.Bytes
		want[s.Role] = w
	}
	shown := report.New(r)
	got := map[kernel.Role][4]uint64{}
	for _, row := range shown.Recording.Rows() {
		s := got[row.Role]
		got[row.Role] = [4]uint64{s[0] + uint64(row.Count), s[1] + row.PageBytes, s[2] + objectBytes(row), s[3]}
	}
	for _, p := range shown.Paths {
		w := got[p.Role]
		w[3] += p.Bytes
		got[p.Role] = w
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("by role endpoints, page bytes, those of objects and of paths are %v, the recording has %v", got, want)
	}
}

func objectBytes(row *recording.EndpointRow) uint64 {
	sum := uint64(0)
	for _, o := range row.Objects {
		sum += o.PageBytes
	}
	return sum
}
