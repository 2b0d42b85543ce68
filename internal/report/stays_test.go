package report_test

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

// closedAll is the sample after whose close so many dentries stay.
func closedAll(dentries int64) *recording.Recording {
	r := sample.New()
	r.Machines[0].Stays = &recording.Stays{Closed: 20_000, CloseSeconds: 0.8, Idle: recording.Idle{Seconds: 60.2, Readings: 13},
		Moments: []recording.StayMoment{
			{Seconds: 0.004, SlabBytes: 30 << 20, ErrorBytes: 200 << 10, TimeWait: 20_000},
			{Seconds: 0.061, AfterRCU: true, SlabBytes: 9 << 20, ErrorBytes: 200 << 10, TimeWait: 20_000},
			{Seconds: 61.4, AfterRCU: true, SlabBytes: 50 << 10, ErrorBytes: 210 << 10},
		},
		Caches: []recording.StayCache{
			{Cache: "dentry", Types: []string{"dentry"}, ObjectBytes: 192, Left: []int64{39_000, dentries, dentries},
				InSockets: []int64{0, 0, 0}, Errors: []int64{40, 40, 41}},
			{Cache: "tw_sock_TCP", Types: []string{"tcp_timewait_sock"}, ObjectBytes: 256, Left: []int64{0, 0, 0},
				InSockets: []int64{20_000, 20_000, 0}, Errors: []int64{0, 0, 0}},
		}}
	return r
}

func TestWhatStaysIsNamed(t *testing.T) {
	r := closedAll(20_000)
	s := report.New(r).Stays
	if !s.Warn {
		t.Errorf("dentries stay, and nothing warns: %+v", s)
	}
	sample.Has(t, textOf(t, r), "What stays", "Beyond the error, 61.4 s after the last close 1 slab cache holds more objects than before: "+
		"dentry +20,000 (1.00 a connection).", "at once, before RCU 20,000 0 4.88 MiB +30.0 MiB ± 200.0 KiB",
		"20,000 connections, the client's end first, in 0.80 s", "dentry dentry +39,000 +20,000 +20,000 ±41 1.00",
		"the widest range in 13 readings of 60.2 s without connections")
	sample.Has(t, htmlOf(t, r), "<h2>What stays</h2>", "20,000 (1.00 a connection)", `<tr class="warn"><td class="k">dentry</td>`)
}

func TestWithinTheErrorNothingStays(t *testing.T) {
	r := closedAll(41)
	stays := r.Machines[0].Stays // one object for each address is none for each connection
	stays.Caches = append(stays.Caches, recording.StayCache{Cache: "kmalloc-128", Left: []int64{20, 20, 20}, Errors: []int64{0, 0, 0}})
	s := report.New(r).Stays
	if s.Warn {
		t.Errorf("%+v", s)
	}
	sample.Has(t, textOf(t, r), "Nothing stays: 61.4 s after the last close no slab cache holds one object more for a hundred "+
		"connections, beyond the error.", "and 1 cache with more objects than the error")
	// Sockets that are still there are told of.
	r.Machines[0].Stays.Moments[2].TimeWait = 20_000
	sample.Has(t, textOf(t, r), "20,000 still in TIME_WAIT and 0 in another state at the end")
}

func TestNobodyIsToldOfWhatNobodyAskedFor(t *testing.T) {
	for name, stays := range map[string]*recording.Stays{"not asked for": nil, "interrupted before the first moment": {Closed: 5}} {
		r := sample.New()
		r.Machines[0].Stays = stays
		if text := textOf(t, r) + htmlOf(t, r); strings.Contains(text, "What stays") {
			t.Errorf("%s: the report tells of it", name)
		}
	}
}

// With all usual moments, and the end of TIME_WAIT, the table is as wide as a terminal.
func TestTheTableOfWhatStaysKeepsToTheWidth(t *testing.T) {
	r := closedAll(19_000)
	s := r.Machines[0].Stays
	for len(s.Moments) < 6 {
		s.Moments = append(s.Moments, s.Moments[2])
	}
	s.Caches = append(s.Caches, recording.StayCache{Cache: "request_sock_TCPv6", Types: []string{"tcp_request_sock", "inet_bind_bucket"}})
	for i := range s.Caches {
		c := &s.Caches[i]
		c.Left, c.InSockets = []int64{39_000, -39_000, 39_000, 39_000, 39_000, 39_000}, make([]int64, 6)
		c.Errors = []int64{1, 1, 1, 1, 1, 9_999}
	}
	for _, line := range strings.Split(textOf(t, r), "\n") {
		if width := len([]rune(line)); width > 100 {
			t.Errorf("%d columns: %s", width, line)
		}
	}
}
