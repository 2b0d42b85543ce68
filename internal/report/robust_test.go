package report_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/export"
	"github.com/connprof/connprof/internal/report/html"
	"github.com/connprof/connprof/internal/report/sample"
	"github.com/connprof/connprof/internal/report/text"
)

// formats are all the ways out.
var formats = map[string]report.Format{"text": text.Format{AllCaches: true}, "html": html.Format{}, "pprof": export.Pprof{},
	"folded": export.Folded{}, "speedscope": export.Speedscope{}, "csv": export.CSV{}}

// renderers are they, and the differences from and to the sample.
func renderers() map[string]func(io.Writer, *recording.Recording) error {
	all := map[string]func(io.Writer, *recording.Recording) error{}
	for name, f := range formats {
		all[name] = func(w io.Writer, r *recording.Recording) error { return f.Write(w, report.New(r)) }
		all["diff "+name] = func(w io.Writer, r *recording.Recording) error {
			return f.WriteDiff(w, report.Compare(sample.New(), r))
		}
		all["diff back "+name] = func(w io.Writer, r *recording.Recording) error {
			return f.WriteDiff(w, report.Compare(r, sample.New()))
		}
		all["code "+name] = func(w io.Writer, r *recording.Recording) error {
			return f.WriteDiff(w, report.Compare(sample.Recorded(), r))
		}
		if name == "pprof" || name == "speedscope" || name == "folded" {
			continue // their difference is the same code as that of the above
		}
		all["growth "+name] = func(w io.Writer, r *recording.Recording) error {
			return f.WriteDiff(w, report.Compare(sample.Live(), r))
		}
	}
	return all
}

func textOf(t *testing.T, r *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return text.Format{}.Write(w, report.New(r)) })
}

func htmlOf(t *testing.T, r *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return html.Format{}.Write(w, report.New(r)) })
}

// flood sets every number in a recording to an extreme.
func flood(v reflect.Value, low bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			flood(v.Elem(), low)
		}
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
		r := sample.New()
		change(r)
		odd[name] = r
	}
	odd["empty"] = &recording.Recording{Machines: []*recording.Machine{{}}}
	odd["no machine"] = &recording.Recording{}
	odd["live"], odd["a look at nothing"] = sample.Live(), &recording.Recording{Machines: []*recording.Machine{{Look: &recording.Look{}}}}
	for name, change := range map[string]func(*recording.Recording){
		"huge":                     func(r *recording.Recording) { flood(reflect.ValueOf(r), false) },
		"negative":                 func(r *recording.Recording) { flood(reflect.ValueOf(r), true) },
		"nameless":                 func(r *recording.Recording) { sample.Forge(r, "") },
		"names of other alphabets": func(r *recording.Recording) { sample.Forge(r, "ядро 内核") },
		"no groups":                func(r *recording.Recording) { r.Machines[0].Groups = nil },
		"no endpoints":             func(r *recording.Recording) { r.Machines[0].Endpoints = nil },
		"no books":                 func(r *recording.Recording) { r.Machines[0].Books = nil },
	} {
		r := sample.Live()
		change(r)
		odd["live, "+name] = r
	}
	for name, change := range oddRecords {
		r := sample.Recorded()
		change(r)
		odd["record, "+name] = r
	}
	odd["snapshot"], odd["record"], odd["no profile"] = sample.Snapshot(), sample.Record(), sample.NoProfile()
	odd["empty load"] = &recording.Recording{Machines: []*recording.Machine{{Load: &recording.Load{}}}}
	odd["after the close"], odd["cycles"] = closedAll(5), cycled(5)
	for name, low := range map[string]bool{"huge": false, "negative": true} {
		odd["after the close, "+name] = closedAll(5)
		flood(reflect.ValueOf(odd["after the close, "+name]), low)
		odd["cycles, "+name] = cycled(5)
		flood(reflect.ValueOf(odd["cycles, "+name]), low)
	}
	odd["after the close, lists cut short"] = closedAll(5)
	odd["after the close, lists cut short"].Machines[0].Stays.Caches[0] = recording.StayCache{Cache: "dentry", Left: []int64{7}}
	with("no endpoints", func(r *recording.Recording) { r.Machines[0].Endpoints = nil })
	with("rows without endpoints", func(r *recording.Recording) {
		for i := range r.Machines[0].Endpoints {
			r.Machines[0].Endpoints[i].Count = 0
		}
	})
	with("no stacks", func(r *recording.Recording) { r.Machines[0].Stacks = nil })
	with("stacks of a role without endpoints", func(r *recording.Recording) { r.Machines[0].Stacks[0].Role = kernel.RoleUnknown })
	with("stacks without bytes", func(r *recording.Recording) {
		for i := range r.Machines[0].Stacks {
			r.Machines[0].Stacks[i].Bytes = 0
		}
	})
	with("stacks without frames", func(r *recording.Recording) {
		for i := range r.Machines[0].Stacks {
			r.Machines[0].Stacks[i].Frames = nil
		}
	})
	with("server only", func(r *recording.Recording) { r.Machines[0].Endpoints = r.Machines[0].Endpoints[1:] })
	with("slab shrank", func(r *recording.Recording) { r.Machines[0].Reconcile.SlabDeltaBytes = -1 })
	with("slab stood still", func(r *recording.Recording) { r.Machines[0].Reconcile.SlabDeltaBytes = 0 })
	with("one sample of the timeline", func(r *recording.Recording) { r.Machines[0].Load.Timeline = r.Machines[0].Load.Timeline[:1] })
	with("time stands still", func(r *recording.Recording) {
		for i := range r.Machines[0].Load.Timeline {
			r.Machines[0].Load.Timeline[i] = r.Machines[0].Load.Timeline[0]
		}
	})
	with("nameless", func(r *recording.Recording) { sample.Forge(r, "") })
	with("names of other alphabets", func(r *recording.Recording) { sample.Forge(r, "ядро 内核") })
	with("huge", func(r *recording.Recording) { flood(reflect.ValueOf(r), false) })
	with("negative", func(r *recording.Recording) { flood(reflect.ValueOf(r), true) })
	with("one kernel, one end", func(r *recording.Recording) {
		r.Machines[0].Reconcile.BothEnds, r.Machines[0].Load.End = true, kernel.RoleClient
	})
	return odd
}

// oddRecords are what can be wrong with a record.
var oddRecords = map[string]func(*recording.Recording){
	"whole":                    func(*recording.Recording) {},
	"huge":                     func(r *recording.Recording) { flood(reflect.ValueOf(r), false) },
	"negative":                 func(r *recording.Recording) { flood(reflect.ValueOf(r), true) },
	"nameless":                 func(r *recording.Recording) { sample.Forge(r, "") },
	"names of other alphabets": func(r *recording.Recording) { sample.Forge(r, "ядро 内核") },
	"openers without a record": func(r *recording.Recording) { r.Machines[0].Record = nil },
	"a record without openers": func(r *recording.Recording) { r.Machines[0].Openers = nil },
	"a record without a look":  func(r *recording.Recording) { r.Machines[0].Look = nil },
	"nothing but a record": func(r *recording.Recording) {
		*r.Machines[0] = recording.Machine{Look: &recording.Look{}, Record: &recording.Record{}}
	},
	"no locations": func(r *recording.Recording) { r.Machines[0].Locations = nil },
	"no reconcile": func(r *recording.Recording) { r.Machines[0].Reconcile = nil },
	"locations out of range": func(r *recording.Recording) {
		for i := range r.Machines[0].Openers {
			for k := range r.Machines[0].Openers[i].Locations {
				r.Machines[0].Openers[i].Locations[k] = 1000*k - 1
			}
		}
	},
	"more locations than frames": func(r *recording.Recording) {
		for i := range r.Machines[0].Openers {
			o := &r.Machines[0].Openers[i]
			o.Locations, o.Frames = append(o.Locations, 1, 2), o.Frames[:len(o.Frames)/2]
		}
	},
	"locations without frames": func(r *recording.Recording) {
		for i := range r.Machines[0].Openers {
			r.Machines[0].Openers[i].Frames = nil
		}
	},
	"all inlined": func(r *recording.Recording) {
		for i := range r.Machines[0].Locations {
			r.Machines[0].Locations[i].Inlined, r.Machines[0].Locations[i].Address = true, 0
		}
	},
	"groups of openers that are not there": func(r *recording.Recording) {
		r.Machines[0].Look.By = []string{"opener"}
		for i := range r.Machines[0].Groups {
			r.Machines[0].Groups[i].Opener = 90*i - 1
		}
	},
	"a stack without an end": func(r *recording.Recording) {
		o := &r.Machines[0].Openers[0]
		for i := range 50_000 {
			o.Frames, o.Locations = append(o.Frames, "f"+strconv.Itoa(i%7)), append(o.Locations, i%3)
		}
	},
	"time that stands still": func(r *recording.Recording) {
		for i := range r.Machines[0].Record.Timeline {
			r.Machines[0].Record.Timeline[i].Seconds = 0
		}
	},
}

func oddPairs() map[string]*recording.Recording {
	odd := map[string]*recording.Recording{}
	both := func(name string, change func(*recording.Recording)) {
		r := sample.TwoMachines()
		change(r)
		odd["two machines, "+name] = r
	}
	both("nothing of the other", func(r *recording.Recording) { r.Machines[1] = &recording.Machine{} })
	both("a third", func(r *recording.Recording) { r.Machines = append(r.Machines, sample.TwoMachines().Machines...) })
	both("the other is itself", func(r *recording.Recording) { r.Machines[1] = r.Machines[0] })
	both("neither opened anything", func(r *recording.Recording) { r.Machines[0].Load, r.Machines[1].Load = nil, nil })
	both("one is a snapshot", func(r *recording.Recording) { r.Machines[0] = sample.Snapshot().Machines[0] })
	both("no lists of the other", func(r *recording.Recording) {
		r.Machines[1].Hooks, r.Machines[1].Plan, r.Machines[1].Notes, r.Machines[1].Command, r.Machines[1].Load.Timeline = nil, nil, nil, nil, nil
		r.Machines[1].Trace.Types, r.Machines[1].Reconcile.Caches = nil, nil
	})
	both("no endpoints", func(r *recording.Recording) { r.Machines[0].Endpoints, r.Machines[0].Stacks = nil, nil })
	both("ends mixed up", func(r *recording.Recording) {
		r.Machines[0].Load.End, r.Machines[1].Load.End = kernel.RoleServer, kernel.RoleClient
	})
	both("one kernel only", func(r *recording.Recording) { r.Machines[0].Reconcile.BothEnds = true })
	both("slab shrank at the other", func(r *recording.Recording) { r.Machines[1].Reconcile.SlabDeltaBytes = -1 })
	both("nameless", func(r *recording.Recording) { sample.Forge(r, "") })
	both("names of other alphabets", func(r *recording.Recording) { sample.Forge(r, "ядро 内核") })
	both("huge", func(r *recording.Recording) { flood(reflect.ValueOf(r), false) })
	both("negative", func(r *recording.Recording) { flood(reflect.ValueOf(r), true) })
	return odd
}

func TestOddRecordingsRenderWithoutNonsense(t *testing.T) {
	odd := oddRecordings()
	maps.Copy(odd, oddPairs())
	for recording, r := range odd {
		for format, render := range renderers() {
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
	for format, render := range renderers() {
		var first, second bytes.Buffer
		if err := errors.Join(render(&first, sample.Troubled()), render(&second, sample.Troubled())); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s differs from one time to the next", format)
		}
	}
}

func TestAFailingWriterIsReported(t *testing.T) {
	for format, render := range renderers() {
		if err := render(sample.Broken{}, sample.Troubled()); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: got error %v, want the writer's", format, err)
		}
	}
}

func TestRenderingChangesNoRecording(t *testing.T) {
	for name, made := range map[string]func() *recording.Recording{"troubled": sample.Troubled, "two machines": sample.TwoMachines,
		"snapshot": sample.Snapshot, "live": sample.Live, "record": sample.Recorded} {
		r := made()
		for format, render := range renderers() {
			if err := render(io.Discard, r); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r, made()) {
				t.Fatalf("%s, %s: the recording is changed", name, format)
			}
		}
	}
}

func TestARecordingCannotDriveTheTerminal(t *testing.T) {
	client, server := sample.Ends()
	for name, r := range map[string]*recording.Recording{"one machine": sample.New(), "two": sample.TwoMachines(),
		"one kernel": sample.OneKernel(), "the client's end": client, "the server's end": server, "snapshot": sample.Snapshot(), "live": sample.Live(),
		"record": sample.Recorded()} {
		r.Interrupted = "somehow"
		for _, m := range r.Machines {
			m.Interrupted = "somehow"
			if m.Load != nil {
				m.Load.Failures = []recording.Failure{{Count: 1}}
			}
		}
		sample.Forge(r, "\x1b]0;owned\x07\u202e\r\n")
		for format, render := range renderers() {
			text := unzipped(t, sample.Render(t, func(w io.Writer) error { return render(w, r) }))
			if strings.ContainsAny(text, "\x1b\x07\r\u202e") {
				i := strings.IndexAny(text, "\x1b\x07\r\u202e")
				t.Errorf("%s, %s: control characters of the recording reached the output: %q", name, format, text[max(i-50, 0):i+10])
			}
		}
	}
}

// unzipped is what a format writes, whether it compresses it or not.
func unzipped(t *testing.T, text string) string {
	t.Helper()
	if !strings.HasPrefix(text, "\x1f\x8b") {
		return text
	}
	p, err := profile.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return p.String()
}

// What connprof did not open is not spoken of as if it had.
func TestASnapshotSpeaksOfNoConnectionThatWasOpened(t *testing.T) {
	r := sample.Snapshot()
	shown := textOf(t, r)
	page := regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>`).ReplaceAllString(htmlOf(t, r), "")
	sample.Has(t, shown, "40,004 TCP endpoints hold 156.6 MiB of slab pages "+
		"79.6 MiB client + 77.0 MiB server + 3.49 KiB listener + 7.39 KiB unknown",
		"nothing lost Run command connprof snapshot", "Endpoints of an unknown role CLOSE · 3", "2,521.0")
	for _, word := range []string{"established", "requested", "connections/s", "One connection", "Load", "Trace against walk",
		"Account against", "a connection<"} {
		if strings.Contains(shown, word) || strings.Contains(page, word) {
			t.Errorf("a snapshot speaks of %q:\n%s", word, shown)
		}
	}
	diff := sample.Render(t, func(w io.Writer) error {
		return text.Format{}.WriteDiff(w, report.Compare(sample.Snapshot(), sample.Record()))
	})
	sample.Has(t, diff, "nothing changed")
}
