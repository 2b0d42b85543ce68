package html

import (
	"fmt"
	gohtml "html"
	"regexp"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

var tags = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`)

// words are what is to be read on a page.
func words(page string) string { return gohtml.UnescapeString(tags.ReplaceAllString(page, " ")) }

func TestThePageOfASnapshotSaysWhatTheTextSays(t *testing.T) {
	page := words(htmlOf(t, sample.Live()))
	sample.Has(t, page, "8,881 TCP sockets in 4 network namespaces hold 26.8 MiB of slab", "The look took 0.31 s",
		"leaky (leaky.service) has 1,740 sockets in CLOSE_WAIT", "nginx x5 nginx.service 4,014", "TIME_WAIT the kernel keeps them for 60 s",
		"tcp_timewait_sock tw_sock_TCP 2,210 280", "the 63 costliest endpoints")
	for _, word := range []string{"No call paths", "One connection", "requested"} {
		if strings.Contains(page, word) {
			t.Errorf("the page of a snapshot speaks of %q", word)
		}
	}
}

// The page's script divides what it is given: the groups have all bytes and sockets of the account.
func TestTheIcicleIsGivenAllBytes(t *testing.T) {
	r := sample.Live()
	h := newHoldings(report.New(r).Look.Holdings(), false)
	at := len(h.Levels)
	var sockets, bytes int64
	for _, g := range h.Groups {
		sockets += g[at+2]
		for _, n := range g[at+3:] {
			bytes += n
		}
		if sum := compositionBytes(h, g[at]); sum == 0 {
			t.Errorf("a group of %s has no objects", h.Names[g[0]])
		}
	}
	want, n := int64(0), int64(0)
	for _, row := range r.Machines[0].Endpoints {
		want += int64(row.PageBytes + row.BufferBytes)
		n += int64(row.Count)
	}
	if bytes != want || sockets != n {
		t.Errorf("%d bytes of %d sockets, want %d of %d", bytes, sockets, want, n)
	}
}

func compositionBytes(h *holdings, at int64) (sum int64) {
	for i := 3; i < len(h.Compositions[at]); i += 4 {
		sum += h.Compositions[at][i]
	}
	return sum
}

// A report has at most 2,000 groups.
func TestThePageOfASnapshotWithManyOwnersStaysBelowAMegabyte(t *testing.T) {
	r := sample.Live()
	m := r.Machines[0]
	for i := range 1900 {
		g := m.Groups[i%8]
		g.Comm, g.PID, g.Cgroup, g.Unit = fmt.Sprintf("server-%04d", i), i, fmt.Sprintf("/system.slice/server-%04d.service", i),
			fmt.Sprintf("server-%04d.service", i)
		m.Groups = append(m.Groups, g)
	}
	page := htmlOf(t, r)
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	sample.Has(t, words(page), "912 others")
}

func TestALookWithoutGroupsHasNoIcicle(t *testing.T) {
	r := sample.Live()
	r.Machines[0].Groups = nil
	page := htmlOf(t, r)
	if strings.Contains(page, `id="flame"`) {
		t.Error("there is an icicle of nothing")
	}
	sample.Has(t, words(page), "The recording does not say who has which endpoint.")
}

func TestThePageOfTwoSnapshotsHasTheirGrowth(t *testing.T) {
	page := words(diffOf(t, sample.Live(), sample.Later()))
	sample.Has(t, page, "61.0 MiB less than before", "leaky leaky.service 2,700 +900 10.7 MiB +3.57 MiB +50.0 %")
	r := sample.Live()
	r.Machines[0].Look.Filter = []string{"--port 1"}
	sample.Has(t, words(diffOf(t, r, sample.Later())), "their filters differ")
	var none []recording.Group
	r.Machines[0].Groups = none
	sample.Has(t, words(diffOf(t, r, r)), "Each owner has what it had.")
}
