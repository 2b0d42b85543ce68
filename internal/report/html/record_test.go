package html

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

// codeOf reads the tree of code back out of a page, as its script does.
func codeOf(t *testing.T, page string) codeData {
	t.Helper()
	found := regexp.MustCompile(`(?s)id="code-data">(.*?)</script>`).FindStringSubmatch(page)
	if found == nil {
		t.Fatal("the page holds no code")
	}
	var data codeData
	if err := json.Unmarshal([]byte(found[1]), &data); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestThePageOfARecordSaysWhatTheTextSays(t *testing.T) {
	page := words(htmlOf(t, sample.Recorded()))
	sample.Has(t, page, "In 60 s 13,031 connections were opened", "the rest of the host grew by 5.90 MiB", "connprof itself took 0.41 s of CPU",
		"grew in each tenth of 60 s: +28 +33", "Look for a path behind it that returns without close()",
		"pool.(*Pool).dial pool.go:88 ← pool.(*Pool).Get pool.go:51", "api 4711 container 3f1c9a7be0d2 client 1,212 912 12 300 1.19 MiB 1.8 s 8.0 s 30 s",
		"800 ECONNREFUSED python3 6001 fetch fetch.py", "14 sockets were closed without ever having been connected", "at *:443 6,004 100.1/s 5,714 0 290",
		"whole 92.5 %", "By process", "By object", "The books", "opened before", "How it was watched")
	for _, word := range []string{"No call paths", "One connection", "requested", "from top to bottom", "The look took"} {
		if strings.Contains(page, word) {
			t.Errorf("the page of a record speaks of %q", word)
		}
	}
}

// The page's script adds up what it is given: that is the record.
func TestTheCodeOfAPageHasAllThatWasOpened(t *testing.T) {
	r := sample.Recorded()
	data := codeOf(t, htmlOf(t, r))
	var got, want [5]int64
	at := map[int]bool{}
	for _, end := range data.Ends {
		if at[end[1]] || end[0] >= len(data.Nodes) {
			t.Errorf("opener %d has two ends, or none", end[1])
		}
		at[end[1]] = true
		o := data.Openers[end[1]]
		objects := int64(0)
		for _, part := range o.Objects {
			objects += part[3]
		}
		if objects != o.Values[0] {
			t.Errorf("%s has %d bytes, its objects %d", o.Path, o.Values[0], objects)
		}
		for i, v := range o.Values {
			got[i] += v
		}
	}
	for _, o := range r.Machines[0].Openers {
		for i, v := range []int64{int64(o.LivePageBytes + o.LiveBufferBytes), int64(o.Live), int64(o.Opened), int64(o.Failed), int64(o.Closed)} {
			want[i] += v
		}
	}
	if got != want || len(at) != len(data.Openers) {
		t.Errorf("the page has %v of %d openers, the record %v of %d", got, len(at), want, len(data.Openers))
	}
}

// manyPaths is a record with as many paths as a report shows, and more, each deep and with a name of its own.
func manyPaths() *recording.Recording {
	r := sample.Recorded()
	m := r.Machines[0]
	for i := range 3000 {
		o := recording.Opener{Kind: recording.OpenerPath, Comm: fmt.Sprint("server-", i%40), PID: i, Role: kernel.RoleClient, Opened: i, Live: i % 7,
			LivePageBytes: uint64(4096 * (i % 7)), States: m.Openers[0].States, Peers: m.Openers[0].Peers, Objects: m.Openers[0].Objects}
		for k := range 40 {
			o.Frames = append(o.Frames, fmt.Sprintf("github.com/acme/service/internal/package%d.(*Type%d).method", k, i))
		}
		m.Openers = append(m.Openers, o)
	}
	return r
}

func TestThePageOfARecordWithManyPathsIsBounded(t *testing.T) {
	page := htmlOf(t, manyPaths())
	if len(page) > 5<<19 {
		t.Errorf("the page has %d bytes", len(page))
	}
	data := codeOf(t, page)
	if n := len(data.Nodes); n > maxNodes+len(data.Openers) {
		t.Errorf("%d nodes", n)
	}
	processes := 0
	for _, n := range data.Nodes {
		if n[1] == 1 {
			processes++
		}
	}
	if processes < 500 { // however narrow: they are what the reader looks for first
		t.Errorf("%d processes", processes)
	}
	if len(data.Ends) != len(data.Openers) {
		t.Errorf("%d openers end somewhere, of %d", len(data.Ends), len(data.Openers))
	}
	sample.Has(t, words(page), "others")
}

func TestARecordThatOpenedNothingHasNoFlameGraph(t *testing.T) {
	r := sample.Recorded()
	r.Machines[0].Openers = nil
	page := htmlOf(t, r)
	if strings.Contains(page, `id="flame"`) || strings.Contains(page, "code-data\">") {
		t.Error("there is a flame graph of nothing")
	}
	sample.Has(t, words(page), "The recording does not say who opened connections.")
}

func TestThePageOfTwoRecordsHasTheirCode(t *testing.T) {
	page := diffOf(t, sample.Recorded(), sample.RecordedLater())
	sample.Has(t, words(page), "Which code has it open", "1.11 MiB less than before, −280 still open", "api container 3f1c9a7be0d2 client 1,300 +88 0 20 −280 81.3 KiB −1.11 MiB",
		"By process", "By object")
	checkFrames(t, flameOf(t, page))
	sample.Has(t, words(diffOf(t, sample.Recorded(), sample.Recorded())), "Each code path has what it had.")
}

// The course begins at the first point; a rate is of the time since the point before.
func TestTheCourseOfARecord(t *testing.T) {
	c := newRecordChart([]recording.RecordPoint{{}, {Seconds: 2, Opened: 10, Closed: 4, Failed: 1}, {Seconds: 3, Opened: 11, Closed: 11}})
	want := []string{"0.000 s · 5 opened/s · 2 closed/s · 0 open", "2.00 s · 5 opened/s · 2 closed/s · 6 open", "3.00 s · 1 opened/s · 7 closed/s · 0 open"}
	if fmt.Sprint(c.Data.Moments) != fmt.Sprint(want) {
		t.Errorf("the crosshair says %q", c.Data.Moments)
	}
	if len(c.Panels) != 3 || len(c.Data.Series) != 3 || len(c.Data.Ranges) != 4 {
		t.Errorf("%d panels of %d series", len(c.Panels), len(c.Data.Series))
	}
}
