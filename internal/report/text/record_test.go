package text

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

func TestARecordAt80And120Columns(t *testing.T) {
	for _, width := range []int{80, 120} {
		golden(t, fmt.Sprintf("record-%d", width), textOf(t, sample.Recorded(), Format{Width: width}))
	}
}

// crowdedRecord has names, numbers and lists as long as anyone can make them.
func crowdedRecord() *recording.Recording {
	r := sample.Recorded()
	m := r.Machines[0]
	long := strings.Repeat("very_long_name::", 40)
	for i := range m.Openers {
		o := &m.Openers[i]
		o.PID, o.Container, o.Why, o.Listener = 4_194_303, long, long, "[fe80:1234:5678:9abc:def0:1234:5678:9abc]:65535"
		if o.Comm != "" {
			o.Comm = fmt.Sprintf("a-comm-of-15-%02d", i)
		}
		o.Opened, o.Closed, o.Failed, o.Live = 99_999_999, 99_999_999, 99_999_999, 9_999_999
		o.LivePageBytes, o.LiveBufferBytes = 999<<30, 24<<30
		o.Lifetime = &recording.Percentiles{P50: 0.0123, P90: 86_399 * 365, P99: 86_400 * 9999}
		for k := range o.Frames {
			o.Frames[k] = long + o.Frames[k]
		}
		for k := range 30 {
			o.States = append(o.States, recording.StateCount{State: fmt.Sprint("STATE_", k), Count: 9_999_999})
			o.Errors = append(o.Errors, recording.OpenerError{Error: fmt.Sprint("E", k, long), Count: 9_999_999})
		}
	}
	for i := range m.Record.Churn {
		c := &m.Record.Churn[i]
		c.Address, c.Netns = "[fe80:1234:5678:9abc:def0:1234:5678:9abc]:65535", uint32(4026532000+i)
		c.Opened, c.Closed, c.Failed, c.Live = 99_999_999, 99_999_999, 99_999_999, 9_999_999
	}
	m.Record.Command = []string{"curl", long}
	return r
}

func TestARecordKeepsToItsWidth(t *testing.T) {
	for name, r := range map[string]*recording.Recording{"sample": sample.Recorded(), "crowded": crowdedRecord()} {
		for _, width := range []int{0, 40, 80, 120, 200} {
			most := max(width, 80)
			if width == 0 {
				most = 100
			}
			f := Format{Width: width}
			text := textOf(t, r, f) + sample.Render(t, func(w io.Writer) error { return f.WriteDiff(w, report.Compare(sample.Recorded(), r)) })
			for _, line := range strings.Split(text, "\n") {
				if n := format.Columns(line); n > most {
					t.Errorf("%s: %d of %d columns: %s", name, n, most, line)
				}
			}
		}
	}
}

func TestARecordOnATerminalIsBounded(t *testing.T) {
	r := crowdedRecord()
	m := r.Machines[0]
	for i := range 3000 {
		o := m.Openers[i%4]
		o.Comm, o.States, o.Errors = fmt.Sprint("c", i), nil, nil
		m.Openers = append(m.Openers, o)
		m.Record.Churn = append(m.Record.Churn, m.Record.Churn[i%4])
	}
	text := textOf(t, r, Format{Width: 80})
	if n := strings.Count(text, "\n"); n > 900 {
		t.Errorf("%d lines", n)
	}
	sample.Has(t, text, "others", "more reasons")
}

func TestNothingIsSaidOfWhatDidNotHappen(t *testing.T) {
	r := sample.Recorded()
	m := r.Machines[0]
	m.Record.NeverConnected, m.Record.Churn, m.Record.Stacks = 0, nil, recording.StackShare{}
	for i := range m.Openers {
		m.Openers[i].Errors, m.Openers[i].Tenths = nil, nil
	}
	text := textOf(t, r, Format{})
	sample.Has(t, text, "nothing grows all the time")
	for _, title := range []string{"What grows", "What failed", "By peer and listener", "How much of the code is known"} {
		if strings.Contains(text, title) {
			t.Errorf("a section without content: %s", title)
		}
	}
}

func TestTwoRecords(t *testing.T) {
	golden(t, "records", diffOf(t, sample.Recorded(), sample.RecordedLater()))
	sample.Has(t, diffOf(t, sample.Recorded(), sample.Recorded()), "By code path 12 unchanged unchanged", "each code path has opened as many as before")
}

func TestARecordAndASnapshotAreComparedByOwner(t *testing.T) {
	for _, pair := range [][2]*recording.Recording{{sample.Live(), sample.Recorded()}, {sample.Recorded(), sample.Live()}} {
		text := diffOf(t, pair[0], pair[1])
		sample.Has(t, text, "By process", "only the record knows who opened what")
		if strings.Contains(text, "By code path") {
			t.Errorf("a snapshot has code paths:\n%s", text)
		}
	}
}
