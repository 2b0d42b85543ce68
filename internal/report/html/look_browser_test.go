//go:build browser

package html

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

func growthPage(t *testing.T) string {
	t.Helper()
	return sample.Render(t, func(w io.Writer) error { return Format{}.WriteDiff(w, report.Compare(sample.Live(), sample.Later())) })
}

// heldBytes sums what the groups hold that a rule takes.
func heldBytes(takes func(*recording.Group) bool) (n uint64) {
	groups := sample.Live().Machines[0].Groups
	for i := range groups {
		if takes(&groups[i]) {
			n += groups[i].PageBytes + groups[i].BufferBytes
		}
	}
	return n
}

// level chooses one of the levels of the icicle.
func (b *browser) level(place int, name string) {
	b.t.Helper()
	b.js(nil, fmt.Sprintf("const s = document.querySelectorAll('.levels select')[%d]; s.value = arguments[0]; s.dispatchEvent(new Event('change'))",
		place), name)
}

func label(name string) string { return drawn(name) + ".getAttribute('aria-label')" }

func TestTheIcicleHasTheLevelsThatTheReaderChooses(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Live()), "")
	all := heldBytes(func(*recording.Group) bool { return true })
	says := func(name string, n uint64) {
		t.Helper()
		b.want(label(name), fmt.Sprintf("%s, %s, %s", name, format.Size(float64(n)), format.Percent(float64(n), float64(all))))
	}
	says("all", all)
	says("leaky (leaky.service)", heldBytes(func(g *recording.Group) bool { return g.Comm == "leaky" }))
	b.level(0, "state")
	b.level(1, "")
	b.level(2, "")
	says("CLOSE_WAIT", heldBytes(func(g *recording.Group) bool { return g.State == "CLOSE_WAIT" }))
	b.want("location.hash", "#l=state")
	b.want("document.querySelectorAll('#flame .f').length", "5") // all, and those of the six states that are wide enough
	b.level(0, "netns")
	b.level(1, "role")
	says("netns 4026532305", heldBytes(func(g *recording.Group) bool { return g.Netns == 4026532305 }))
	b.level(0, "object")
	b.level(1, "object") // twice is once
	says("receive queue", heldBytes(func(*recording.Group) bool { return true })-heldWithout(t))
	b.noErrors()
}

// heldWithout is all bytes but the receive queues'.
func heldWithout(t *testing.T) (n uint64) {
	t.Helper()
	for _, g := range sample.Live().Machines[0].Groups {
		n += g.PageBytes + g.BufferBytes - g.RxBytes
	}
	return n
}

func TestTheAddressRemembersTheLevels(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Live()), "l=container,nonsense,state")
	b.want("[...document.querySelectorAll('.levels select')].map(s => s.value).join()", "container,state,,")
	b.want("Boolean("+drawn("a91be4d7026c")+")", "true")
	b.open(htmlOf(t, sample.Live()), "l=nonsense")
	b.want("[...document.querySelectorAll('.levels select')].map(s => s.value).join()", "owner,state,object,")
	b.noErrors()
}

func TestZoomAndSearchGoOnInTheIcicle(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Live()), "")
	b.point(drawn("leaky (leaky.service)"), true)
	if got := b.text(crumbs); !strings.HasPrefix(got, "all › leaky (leaky.service)") {
		t.Errorf("a click leads to %q", got)
	}
	b.level(0, "role")
	b.want(crumbs, "all")
	b.js(nil, "const i = document.getElementById('search'); i.value = 'CLOSE_WAIT'; i.dispatchEvent(new Event('input'))")
	if got := b.text(matched); !strings.Contains(got, " matched, ") {
		t.Errorf("a search says %q", got)
	}
	b.noErrors()
}

func TestTheOwnersAreSortedAndSearched(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Live()), "")
	first := "document.querySelector('.owners tbody tr').cells[0].firstChild.textContent"
	head := func(name string) string {
		return fmt.Sprintf("[...document.querySelectorAll('.owners th button')].find(e => e.textContent === %q)", name)
	}
	b.want(first, "redis-server")
	b.point(head("sockets"), true)
	b.want(first, "nginx x5")
	b.want("document.querySelectorAll('.owners th')[1].getAttribute('aria-sort')", "descending")
	b.point(head("sockets"), true)
	b.want(first, "in flight")
	b.point(head("longest idle"), true)
	b.want(first, "leaky")
	b.point(head("owner"), true)
	b.want(first, "accept queue")
	b.js(nil, "const i = document.getElementById('find-owner'); i.value = 'REDIS'; i.dispatchEvent(new Event('input'))")
	b.want("document.getElementById('found-owners').textContent", "2 of 12")
	b.want("[...document.querySelectorAll('.owners tbody tr')].filter(r => !r.hidden).length", "2")
	b.js(nil, "const i = document.getElementById('find-owner'); i.value = 'nothing like it'; i.dispatchEvent(new Event('input'))")
	b.want("document.getElementById('found-owners').className", "warn")
	b.js(nil, "const i = document.getElementById('find-owner'); i.value = ''; i.focus()")
	b.press("/") // is for the frames elsewhere
	b.want("document.activeElement.id + document.activeElement.value", "find-owner/")
	b.noErrors()
}

func TestTheIcicleOfADifferenceTellsGrowthFromShrinking(t *testing.T) {
	b := startBrowser(t)
	b.open(growthPage(t), "")
	b.want(drawn("leaky (leaky.service)")+".classList.contains('d-up') || "+drawn("leaky (leaky.service)")+".classList.contains('role')", "true")
	b.want(drawn("redis-server (container a91be4d7026c)")+".classList.contains('d-down')", "true")
	b.want(drawn("nginx (nginx.service)")+".classList.contains('d-same')", "true")
	b.noErrors()
}

func TestTheSnapshotsPageInItsWidthsAndThemes(t *testing.T) {
	b := startBrowser(t)
	for name, page := range map[string]string{"live": htmlOf(t, sample.Live()), "growth": growthPage(t)} {
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int{1280, 400} {
				b.resize(width, 2600)
				b.open(page, "theme="+theme)
				b.want("document.documentElement.scrollWidth <= innerWidth", "true")
				b.shoot(fmt.Sprintf("%s-%s-%d", name, theme, width))
			}
		}
	}
	b.noErrors()
}
