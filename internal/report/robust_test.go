package report

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// renderers are all the ways out of this package; a difference is made with the sample as the other side.
var renderers = map[string]func(io.Writer, *recording.Recording) error{
	"text":       func(w io.Writer, r *recording.Recording) error { return Text(w, r, TextOptions{AllCaches: true}) },
	"html":       HTML,
	"pprof":      Pprof,
	"folded":     Folded,
	"speedscope": Speedscope,
	"csv":        CSV,

	"diff":            func(w io.Writer, r *recording.Recording) error { return Diff(w, sample(), r, TextOptions{}) },
	"diff back":       func(w io.Writer, r *recording.Recording) error { return Diff(w, r, sample(), TextOptions{}) },
	"diff html":       func(w io.Writer, r *recording.Recording) error { return DiffHTML(w, sample(), r) },
	"diff html back":  func(w io.Writer, r *recording.Recording) error { return DiffHTML(w, r, sample()) },
	"diff pprof":      func(w io.Writer, r *recording.Recording) error { return DiffPprof(w, sample(), r) },
	"diff folded":     func(w io.Writer, r *recording.Recording) error { return DiffFolded(w, sample(), r) },
	"diff speedscope": func(w io.Writer, r *recording.Recording) error { return DiffSpeedscope(w, sample(), r) },
	"diff csv":        func(w io.Writer, r *recording.Recording) error { return DiffCSV(w, r, sample()) },
}

// forge replaces every string in a recording, map keys excepted.
func forge(v any, s string) { forgeValue(reflect.ValueOf(v), s) }

func forgeValue(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Pointer:
		forgeValue(v.Elem(), s)
	case reflect.String:
		v.SetString(s)
	case reflect.Slice:
		for i := range v.Len() {
			forgeValue(v.Index(i), s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				forgeValue(v.Field(i), s)
			}
		}
	}
}

// flood sets every number in a recording to an extreme.
func flood(v reflect.Value, low bool) {
	switch v.Kind() {
	case reflect.Pointer:
		flood(v.Elem(), low)
	case reflect.Slice:
		for i := range v.Len() {
			flood(v.Index(i), low)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				flood(v.Field(i), low)
			}
		}
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MaxInt64)
		if low {
			v.SetInt(math.MinInt64)
		}
	case reflect.Uint64:
		v.SetUint(math.MaxUint64)
		if low {
			v.SetUint(0)
		}
	case reflect.Float64:
		v.SetFloat(math.MaxFloat64)
		if low {
			v.SetFloat(-math.MaxFloat64)
		}
	}
}

func oddRecordings() map[string]*recording.Recording {
	odd := map[string]*recording.Recording{}
	with := func(name string, change func(*recording.Recording)) {
		r := sample()
		change(r)
		odd[name] = r
	}
	odd["empty"] = &recording.Recording{}
	with("no endpoints", func(r *recording.Recording) { near(r).Endpoints = nil })
	with("rows without endpoints", func(r *recording.Recording) {
		for i := range near(r).Endpoints {
			near(r).Endpoints[i].Count = 0
		}
	})
	with("no stacks", func(r *recording.Recording) { near(r).Stacks = nil })
	with("stacks of a role without endpoints", func(r *recording.Recording) { near(r).Stacks[0].Role = "nobody" })
	with("stacks without bytes", func(r *recording.Recording) {
		for i := range near(r).Stacks {
			near(r).Stacks[i].Bytes = 0
		}
	})
	with("stacks without frames", func(r *recording.Recording) {
		for i := range near(r).Stacks {
			near(r).Stacks[i].Frames = nil
		}
	})
	with("server only", func(r *recording.Recording) { near(r).Endpoints = near(r).Endpoints[1:] })
	with("slab shrank", func(r *recording.Recording) { near(r).Reconcile.SlabDeltaBytes = -1 })
	with("slab stood still", func(r *recording.Recording) { near(r).Reconcile.SlabDeltaBytes = 0 })
	with("one sample of the timeline", func(r *recording.Recording) { near(r).Load.Timeline = near(r).Load.Timeline[:1] })
	with("time stands still", func(r *recording.Recording) {
		for i := range near(r).Load.Timeline {
			near(r).Load.Timeline[i] = near(r).Load.Timeline[0]
		}
	})
	with("nameless", func(r *recording.Recording) { forge(r, "") })
	with("names of other alphabets", func(r *recording.Recording) { forge(r, "ядро 内核") })
	with("huge", func(r *recording.Recording) { flood(reflect.ValueOf(r), false) })
	with("negative", func(r *recording.Recording) { flood(reflect.ValueOf(r), true) })
	both := func(name string, change func(*recording.Recording)) {
		r := twoMachines()
		change(r)
		odd["two machines, "+name] = r
	}
	both("nothing of the other", func(r *recording.Recording) { r.Peer = &recording.Recording{} })
	both("a third", func(r *recording.Recording) { r.Peer.Peer = twoMachines() })
	both("the other is itself", func(r *recording.Recording) { r.Peer = r })
	both("no lists of the other", func(r *recording.Recording) {
		far(r).Hooks, far(r).Plan, far(r).Notes, r.Peer.Command, far(r).Load.Timeline = nil, nil, nil, nil, nil
		far(r).Trace.Types, far(r).Reconcile.Caches = nil, nil
	})
	both("no endpoints", func(r *recording.Recording) { near(r).Endpoints, near(r).Stacks = nil, nil })
	both("ends mixed up", func(r *recording.Recording) { near(r).Load.End, far(r).Load.End = "server", "client" })
	both("one kernel only", func(r *recording.Recording) { near(r).Reconcile.BothEnds = true })
	both("slab shrank at the other", func(r *recording.Recording) { far(r).Reconcile.SlabDeltaBytes = -1 })
	both("nameless", func(r *recording.Recording) { forge(r, "") })
	both("names of other alphabets", func(r *recording.Recording) { forge(r, "ядро 内核") })
	both("huge", func(r *recording.Recording) { flood(reflect.ValueOf(r), false) })
	both("negative", func(r *recording.Recording) { flood(reflect.ValueOf(r), true) })
	with("one kernel, one end", func(r *recording.Recording) { near(r).Reconcile.BothEnds, near(r).Load.End = true, "client" })
	return odd
}

func TestOddRecordingsRenderWithoutNonsense(t *testing.T) {
	for recording, r := range oddRecordings() {
		for format, render := range renderers {
			var b bytes.Buffer
			if err := render(&b, r); err != nil {
				t.Errorf("%s as %s: %v", recording, format, err)
			}
			if strings.HasSuffix(format, "pprof") { // compressed
				continue
			}
			for _, nonsense := range []string{"NaN", "Inf ", "+Inf", "%!", "ZgotmplZ"} {
				if strings.Contains(b.String(), nonsense) {
					t.Errorf("%s as %s contains %q", recording, format, nonsense)
				}
			}
		}
	}
}

func TestTheSameRecordingGivesTheSameBytes(t *testing.T) {
	for format, render := range renderers {
		var first, second bytes.Buffer
		if err := errors.Join(render(&first, troubled(t)), render(&second, troubled(t))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s differs from one time to the next", format)
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("disk full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestAFailingWriterIsReported(t *testing.T) {
	for format, render := range renderers {
		if err := render(brokenWriter{}, troubled(t)); !errors.Is(err, errBroken) {
			t.Errorf("%s: got error %v, want the writer's", format, err)
		}
	}
}

func TestRenderingChangesNoRecording(t *testing.T) {
	r := troubled(t)
	for format, render := range renderers {
		if err := render(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(r, troubled(t)) {
			t.Fatalf("%s changed the recording", format)
		}
	}
}
