package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// at is a run of n connections with some points of its timeline.
func at(n int, points ...recording.TimelinePoint) point {
	r := &recording.Machine{Load: &recording.Load{}, Reconcile: &recording.Reconcile{}}
	r.Load.Requested, r.Load.Established, r.Load.FirstConnectSeconds, r.Load.Timeline = n, n, 1, points
	r.Load.ConnectSeconds, r.Cost.AccountSeconds, r.Cost.ProfilerRSSBytes = 2, 1, 1<<20
	r.Endpoints = []recording.EndpointRow{{Role: kernel.RoleClient, PageBytes: uint64(n) * 4000}, {Role: kernel.RoleListener, PageBytes: 9999}}
	return point{Machine: r}
}

func TestLastTenthIsHeldAgainstTheFirst(t *testing.T) {
	// 100 in the first second, and from then on half as many.
	p := at(1000, recording.TimelinePoint{Seconds: 2, Established: 100}, recording.TimelinePoint{Seconds: 20, Established: 1000})
	if got := p.lastTenth(); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("%v, want 0.5", got)
	}
	if got := p.when(550); math.Abs(got-11) > 1e-9 {
		t.Errorf("550 were up at %v, want 11", got)
	}
	if got := at(10).lastTenth(); got != 0 {
		t.Errorf("%v without a timeline", got)
	}
}

func TestRowHasEveryColumn(t *testing.T) {
	columns := strings.Count(strings.SplitN(header, "\n", 2)[0], "|")
	row := at(1_000_000).row()
	if strings.Count(row, "|") != columns || !strings.HasPrefix(row, "| 1,000,000 | 1,000,000 |") ||
		!strings.Contains(row, "| 4000 |") {
		t.Errorf("%s", row)
	}
}

func TestChartIsXMLWithALineForEachSeries(t *testing.T) {
	text := draw([]point{at(10), at(1000)})
	lines := 0
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != len(allSeries) || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("%d lines of %d in %s", lines, len(allSeries), text)
	}
}
