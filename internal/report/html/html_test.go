package html

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

func htmlOf(t *testing.T, r *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return Format{}.Write(w, report.New(r)) })
}

func diffOf(t *testing.T, older, newer *recording.Recording) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return Format{}.WriteDiff(w, report.Compare(older, newer)) })
}

// flameOf reads the flame graph's data back out of a page, as its script does.
func flameOf(t *testing.T, page string) flameData {
	t.Helper()
	found := regexp.MustCompile(`(?s)id="flame-data">(.*?)</script>`).FindStringSubmatch(page)
	if found == nil {
		t.Fatal("the page holds no flame graph data")
	}
	var data flameData
	if err := json.Unmarshal([]byte(found[1]), &data); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFlameWidthsAddUpToTheAccount(t *testing.T) {
	data := flameOf(t, htmlOf(t, sample.New()))
	got, roles := map[string]uint64{}, map[string]uint64{}
	role := ""
	for at := 0; at < len(data.Nodes); at += data.Stride {
		n := data.Nodes[at : at+data.Stride]
		switch name := data.Names[n[0]]; {
		case n[4] == kindRole:
			role = name
			roles[role] = n[2]
		case n[4] >= kindLeaf:
			got[role+" "+name] += n[2]
		}
	}
	sample.SameSums(t, got, sample.PageBytes(sample.New()))
	for _, row := range sample.New().Machines[0].Endpoints {
		if roles[row.Role.String()] != row.PageBytes {
			t.Errorf("%s is %d wide, the account has %d page bytes", row.Role, roles[row.Role.String()], row.PageBytes)
		}
		if data.Endpoints[row.Role.String()] != row.Count {
			t.Errorf("%s has %d endpoints in the page, %d in the recording", row.Role, data.Endpoints[row.Role.String()], row.Count)
		}
	}
}

// checkFrames fails unless every frame is as wide as the frames right under it.
func checkFrames(t *testing.T, data flameData) {
	t.Helper()
	var open []uint64 // what is left of the frames that the current one is under
	for at := 0; at < len(data.Nodes); at += data.Stride {
		depth, width, kind := int(data.Nodes[at+1]), data.Nodes[at+2], data.Nodes[at+4]
		for len(open) > depth {
			if open[len(open)-1] != 0 {
				t.Fatalf("a frame above node %d is %d wider than what is under it", at/data.Stride, open[len(open)-1])
			}
			open = open[:len(open)-1]
		}
		if depth > 0 {
			open[depth-1] -= width
		}
		left := width
		if kind >= kindLeaf || strings.HasPrefix(data.Names[data.Nodes[at]], "[") && strings.HasSuffix(data.Names[data.Nodes[at]], "smaller paths]") {
			left = 0
		}
		open = append(open, left)
	}
}

func TestFramesAreAsWideAsWhatIsUnderThem(t *testing.T) {
	checkFrames(t, flameOf(t, htmlOf(t, sample.New())))
	diff := diffOf(t, sample.New(), sample.Troubled())
	checkFrames(t, flameOf(t, diff))
}

func TestAPageOfAMillionConnectionsAndManyPathsStaysBelowAMegabyte(t *testing.T) {
	r := sample.Of(1_000_000)
	frames := 0
	for i := range 40_000 {
		stack := r.Machines[0].Stacks[i%30]
		stack.Frames = append([]string{fmt.Sprintf("interrupted_function_%d", i)}, stack.Frames...)
		stack.Bytes = uint64(1000 + i)
		r.Machines[0].Stacks = append(r.Machines[0].Stacks, stack)
		frames += len(stack.Frames)
	}
	for range 600_000 {
		r.Machines[0].Load.Timeline = append(r.Machines[0].Load.Timeline, r.Machines[0].Load.Timeline[len(r.Machines[0].Load.Timeline)-1])
	}
	page := htmlOf(t, r)
	if len(page) > 1_000_000 {
		t.Errorf("%d paths of %d frames make a page of %d bytes", len(r.Machines[0].Stacks), frames, len(page))
	}
	data := flameOf(t, page)
	checkFrames(t, data)
	want := uint64(0)
	for _, s := range r.Machines[0].Stacks {
		want += s.Bytes
	}
	if data.Nodes[2] != want {
		t.Errorf("the root is %d wide, the stacks have %d bytes", data.Nodes[2], want)
	}
}

func TestThePageLoadsNothing(t *testing.T) {
	diff := diffOf(t, sample.New(), sample.Troubled())
	for _, page := range []string{htmlOf(t, sample.New()), diff} {
		if found := regexp.MustCompile(`(?i)(src|href|action)\s*=\s*["']?\s*(https?:|//|[a-z./])[^"' >]*`).FindAllString(page, -1); len(found) != 1 || found[0] != `href="data:,` {
			t.Errorf("the page refers to %q", found)
		}
		for _, way := range []string{"http://", "https://", "@import", "url(", "fetch(", "XMLHttpRequest", "import("} {
			if strings.Contains(page, way) {
				t.Errorf("the page contains %q", way)
			}
		}
		if !strings.Contains(page, "default-src &#39;none&#39;") && !strings.Contains(page, "default-src 'none'") {
			t.Error("the page's policy does not forbid loading")
		}
	}
}

func TestARecordingCannotPutAnythingIntoThePage(t *testing.T) {
	attack := "</script><!--<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{.}}</style>"
	for made, honest := range map[string]func() *recording.Recording{
		"one machine":  sample.Troubled,
		"two machines": sample.TwoMachines,
	} {
		r := honest()
		sample.Forge(r, attack)
		r.Machines[0].Top[0].Objects = map[string]int{attack: 1}
		for name, render := range map[string]func(*recording.Recording) string{
			"html":      func(r *recording.Recording) string { return htmlOf(t, r) },
			"diff html": func(r *recording.Recording) string { return diffOf(t, sample.New(), r) },
		} {
			before, forged := render(honest()), render(r)
			for _, tag := range []string{"<script", "</script", "<style", "</style", "<!--", "<img"} {
				if got, want := strings.Count(forged, tag), strings.Count(before, tag); got != want {
					t.Errorf("%s, %s: %d times %q in the forged page, %d in the honest one", made, name, got, tag, want)
				}
			}
			if flame := flameOf(t, forged); !slices.Contains(flame.Names, attack) {
				t.Errorf("%s, %s: the name did not come through as text", made, name)
			}
		}
	}
}

func TestThePageShowsWhatTheTextSays(t *testing.T) {
	page := htmlOf(t, sample.Troubled())
	for _, want := range []string{"One connection costs 8.17 KiB of slab pages", "Interrupted: SIGINT after 11,200",
		"not attached", "cannot assign requested address", "disagree on 2 of 22 figures", "12 events for which the ring had no room",
		"3 endpoints met but not followed", "the 100 costliest endpoints", "10.77.0.1:1025", "kmalloc-64", "38.0 MiB resident",
		"slab caches of one size are merged", "1,634 stacks sampled", "4.00 KiB queued by each"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestTimelineStaysInItsPlot(t *testing.T) {
	view := newChart(report.New(sample.New()).Timelines[0])
	if len(view.Panels) != 2 {
		t.Fatal("the timeline should have two panels")
	}
	for _, p := range view.Panels {
		for _, point := range regexp.MustCompile(`(-?[\d.]+) (-?[\d.]+)`).FindAllStringSubmatch(p.Line, -1) {
			var x, y float64
			if _, err := fmt.Sscan(point[1], &x); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(point[2], &y); err != nil {
				t.Fatal(err)
			}
			if x < 0 || x > 1000 || y < 0 || y > 100 {
				t.Fatalf("%s: point %v is outside", p.Title, point[0])
			}
		}
		if first, last := p.Ticks[0].Label, p.Ticks[len(p.Ticks)-1].Label; first[0] != '0' || last == first {
			t.Errorf("%s: the axis runs from %s to %s", p.Title, first, last)
		}
	}
}

func TestThePolicyAllowsThePagesOwnScript(t *testing.T) {
	page := htmlOf(t, sample.New())
	script := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindStringSubmatch(page)
	if script == nil {
		t.Fatal("the page has no script")
	}
	sum := sha256.Sum256([]byte(script[1]))
	if want := "sha256-" + base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(html.UnescapeString(page), want) {
		t.Errorf("the policy does not name %s, so a browser would not run the script", want)
	}
}

func TestThePageComparesTheServersToo(t *testing.T) {
	page := htmlOf(t, sample.Threaded())
	for _, text := range []string{"two servers", "threads of the server: epoll 8, thread 20,040",
		"switches a connection, client, to wait: epoll 0.20, thread 0.10, 0.50 times",
		"bytes a connection, kernel stacks: epoll"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
}

func TestThePageShowsBothMachines(t *testing.T) {
	r := sample.TwoMachines()
	r.Machines[0].Trace.CallSites = []recording.CallSite{{Function: "sk_prot_alloc", Cache: "TCP", Allocs: 5000}}
	r.Machines[1].Trace.CallSites = []recording.CallSite{{Function: "sk_clone", Cache: "TCP", Allocs: 5000}}
	page := htmlOf(t, r)
	for want, times := range map[string]int{
		"web-1 to db-7 · Linux 6.18.5 x86_64, 6.12.117 aarch64":              1,
		"Account against the kernel's own figures <span>client web-1</span>": 1,
		"Account against the kernel's own figures <span>server db-7</span>":  1,
		"Losses <span>server db-7</span>":                                    1,
		"7 events for which the ring had no room":                            1,
		"Slab caches <span>server db-7</span>":                               1,
		"What the connections need <span>client web-1</span>":                1,
		"What the connections need <span>server db-7</span>":                 1,
		"Cost of the profiler <span>server db-7</span>":                      1,
		"client web-1: agree on all 12 figures.":                             1,
		"server db-7: agree on all 10 figures.":                              1,
		"<div class=\"label\">unexplained client</div>":                      1,
		"<div class=\"label\">unexplained server</div>":                      1,
		"<h4>server db-7</h4>":                                               1,
		"inet_csk_accept":                                                    1,
		"server db-7: 1 call site that allocated or freed":                   1,
		"both machines: slab caches of one size":                             1,
		"class=\"timeline-data\"":                                            2,
		"<div class=\"timeline\"":                                            2,
	} {
		if n := strings.Count(page, want); n != times {
			t.Errorf("%d times %q in the page, want %d", n, want, times)
		}
	}
}

func TestTheDifferenceOfFlameGraphsHasBothSums(t *testing.T) {
	root := flameOf(t, diffOf(t, sample.New(), sample.Troubled())).Nodes[:8]
	sum := func(sums map[string]uint64) (n uint64) {
		for _, bytes := range sums {
			n += bytes
		}
		return n
	}
	was, is := sum(sample.PageBytes(sample.New())), sum(sample.PageBytes(sample.Troubled()))
	if root[6] != is || root[7] != was {
		t.Errorf("the page's root went from %d to %d, the account from %d to %d", root[7], root[6], was, is)
	}
}
