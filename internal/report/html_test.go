package report

import (
	"bytes"
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
)

func htmlOf(t *testing.T, r *recording.Recording) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
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

// pageBytesByType sums a recording's page bytes by role and type: what every format of the call paths must add up to.
func pageBytesByType(r *recording.Recording) map[string]uint64 {
	sums := map[string]uint64{}
	for _, row := range near(r).Endpoints {
		for _, o := range row.Objects {
			sums[row.Role.String()+" "+o.Type] += o.PageBytes
		}
	}
	return sums
}

func compareSums(t *testing.T, got, want map[string]uint64) {
	t.Helper()
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s: %d page bytes, the account has %d", key, got[key], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d roles and types, the account has %d", len(got), len(want))
	}
}

func TestFlameWidthsAddUpToTheAccount(t *testing.T) {
	data := flameOf(t, htmlOf(t, sample()))
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
	compareSums(t, got, pageBytesByType(sample()))
	for _, row := range near(sample()).Endpoints {
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
	checkFrames(t, flameOf(t, htmlOf(t, sample())))
	var diff bytes.Buffer
	if err := DiffHTML(&diff, sample(), troubled(t)); err != nil {
		t.Fatal(err)
	}
	checkFrames(t, flameOf(t, diff.String()))
}

func TestAPageOfAMillionConnectionsAndManyPathsStaysBelowAMegabyte(t *testing.T) {
	r := sampleOf(1_000_000)
	frames := 0
	for i := range 40_000 {
		stack := near(r).Stacks[i%30]
		stack.Frames = append([]string{fmt.Sprintf("interrupted_function_%d", i)}, stack.Frames...)
		stack.Bytes = uint64(1000 + i)
		near(r).Stacks = append(near(r).Stacks, stack)
		frames += len(stack.Frames)
	}
	for range 600_000 {
		near(r).Load.Timeline = append(near(r).Load.Timeline, near(r).Load.Timeline[len(near(r).Load.Timeline)-1])
	}
	page := htmlOf(t, r)
	if len(page) > 1_000_000 {
		t.Errorf("%d paths of %d frames make a page of %d bytes", len(near(r).Stacks), frames, len(page))
	}
	data := flameOf(t, page)
	checkFrames(t, data)
	want := uint64(0)
	for _, s := range near(r).Stacks {
		want += s.Bytes
	}
	if data.Nodes[2] != want {
		t.Errorf("the root is %d wide, the stacks have %d bytes", data.Nodes[2], want)
	}
}

func TestThePageLoadsNothing(t *testing.T) {
	var diff bytes.Buffer
	if err := DiffHTML(&diff, sample(), troubled(t)); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{htmlOf(t, sample()), diff.String()} {
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
		"one machine":  func() *recording.Recording { return troubled(t) },
		"two machines": twoMachines,
	} {
		r := honest()
		forge(r, attack)
		near(r).Top[0].Objects = map[string]int{attack: 1}
		for name, render := range map[string]func(io.Writer, *recording.Recording) error{
			"html":      HTML,
			"diff html": func(w io.Writer, r *recording.Recording) error { return DiffHTML(w, sample(), r) },
		} {
			var before, forged bytes.Buffer
			if err := render(&before, honest()); err != nil {
				t.Fatal(err)
			}
			if err := render(&forged, r); err != nil {
				t.Fatal(err)
			}
			for _, tag := range []string{"<script", "</script", "<style", "</style", "<!--", "<img"} {
				if got, want := strings.Count(forged.String(), tag), strings.Count(before.String(), tag); got != want {
					t.Errorf("%s, %s: %d times %q in the forged page, %d in the honest one", made, name, got, tag, want)
				}
			}
			if flame := flameOf(t, forged.String()); !slices.Contains(flame.Names, attack) {
				t.Errorf("%s, %s: the name did not come through as text", made, name)
			}
		}
	}
}

func TestThePageShowsWhatTheTextSays(t *testing.T) {
	page := htmlOf(t, troubled(t))
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
	view := timelineOf(sample())
	if view == nil || len(view.Panels) != 2 {
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
	page := htmlOf(t, sample())
	script := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindStringSubmatch(page)
	if script == nil {
		t.Fatal("the page has no script")
	}
	sum := sha256.Sum256([]byte(script[1]))
	if want := "sha256-" + base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(html.UnescapeString(page), want) {
		t.Errorf("the policy does not name %s, so a browser would not run the script", want)
	}
}
