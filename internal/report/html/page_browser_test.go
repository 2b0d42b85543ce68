//go:build browser

package html

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

// drawn is a JavaScript expression for a frame by the text that it shows.
func drawn(name string) string {
	return fmt.Sprintf("[...document.querySelectorAll('#flame .f')].find(e => e.getAttribute('aria-label').startsWith(%q))", name+",")
}

const (
	crumbs  = "document.getElementById('crumbs').textContent"
	matched = "document.getElementById('matched').textContent"
	focused = "document.activeElement.getAttribute('aria-label')"
	unzoom  = "document.getElementById('unzoom')"
	tip     = "document.getElementById('tip')"
)

// bytesOf sums the page bytes of a recording's stacks that a rule takes.
func bytesOf(r *recording.Recording, takes func(*recording.Stack) bool) (n uint64) {
	for _, s := range r.Stacks() {
		if takes(s) {
			n += s.Bytes
		}
	}
	return n
}

func all(*recording.Stack) bool { return true }

func TestTheFlameGraphZoomsAndComesBack(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.New()), "")
	b.want(crumbs, "all")
	b.want(unzoom+".disabled", "true")
	b.point(drawn("server"), true)
	b.want(drawn("server")+".style.width", "100%")
	server := bytesOf(sample.New(), func(s *recording.Stack) bool { return s.Role.String() == "server" })
	b.want(crumbs, fmt.Sprintf("all › server  %s, %s of all", format.Size(float64(server)),
		format.Percent(float64(server), float64(bytesOf(sample.New(), all)))))
	b.want("location.hash", "#f="+b.text(drawn("server")+".dataset.id"))
	b.want("Boolean("+drawn("client")+") && "+drawn("client")+".style.opacity !== '0'", "false")
	b.point("document.querySelector('#crumbs button')", true)
	b.want(crumbs, "all")
	b.point(drawn("client"), true)
	b.point(unzoom, true)
	b.want(crumbs, "all")
	b.want("location.hash", "")
	b.want(drawn("all")+".style.width", "100%")
	b.noErrors()
}

func TestTheFlameGraphIsWalkedByKeys(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.New()), "")
	b.js(nil, drawn("all")+".focus()")
	b.press(keyDown)
	if got := b.text(focused); !strings.HasPrefix(got, "client, ") {
		t.Errorf("below the root is %q", got)
	}
	b.press(keyRight)
	if got := b.text(focused); !strings.HasPrefix(got, "server, ") {
		t.Errorf("beside the client is %q", got)
	}
	b.press(keyEnter)
	if got := b.text(crumbs); !strings.HasPrefix(got, "all › server") {
		t.Errorf("Enter leads to %q", got)
	}
	b.press(keyDown, keySpace)
	if got := b.text(crumbs); strings.Count(got, "›") != 2 {
		t.Errorf("the space bar leads to %q", got)
	}
	b.press(keyUp, keyUp, keyLeft, keyLeft)
	b.want(focused+".split(',')[0]", "all")
	b.press(keyEscape)
	b.want(crumbs, "all")
	b.press("/")
	b.want("document.activeElement.id", "search")
	b.noErrors()
}

func TestASearchSumsWhatMatches(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.New()), "")
	says := func(takes func(*recording.Stack) bool) string {
		n := float64(bytesOf(sample.New(), takes))
		return format.Size(n) + " matched, " + format.Percent(n, float64(bytesOf(sample.New(), all)))
	}
	b.press("/")
	b.press(strings.Split("tcp_sock", "")...)
	sock := func(s *recording.Stack) bool { return s.Type == "tcp_sock" }
	b.want(matched, says(sock))
	b.want("location.hash", "#q=tcp_sock")
	b.want("document.querySelectorAll('#flame .hit').length > 0 && document.querySelectorAll('#flame .miss').length > 0", "true")
	b.press(keyEscape)
	b.want(matched, "")
	b.want("document.querySelectorAll('#flame .miss').length", "0")
	for query, takes := range map[string]func(*recording.Stack) bool{
		"^(file|dentry)$": func(s *recording.Stack) bool { return s.Type == "file" || s.Type == "dentry" },
		// A path counts once, however many of its frames match.
		"__sys_": func(s *recording.Stack) bool {
			return slices.ContainsFunc(s.Frames, func(f string) bool { return strings.Contains(f, "__sys_") })
		},
		"sock_inode_cache": func(s *recording.Stack) bool {
			return s.Cache == "sock_inode_cache" || slices.ContainsFunc(s.Frames, func(f string) bool { return strings.Contains(f, "sock_inode_cache") })
		},
	} {
		b.js(nil, "const i = document.getElementById('search'); i.value = arguments[0]; i.dispatchEvent(new Event('input'))", query)
		b.want(matched, says(takes))
	}
	b.js(nil, "const i = document.getElementById('search'); i.value = '(['; i.dispatchEvent(new Event('input'))")
	b.want(matched, "no frame matches")
	b.noErrors()
}

func TestTheAddressRemembersZoomAndSearch(t *testing.T) {
	b := startBrowser(t)
	page := htmlOf(t, sample.New())
	b.open(page, "f=1&q=epitem&theme=dark")
	if got := b.text(crumbs); !strings.HasPrefix(got, "all › client") {
		t.Errorf("the zoom is %q", got)
	}
	b.want("document.getElementById('search').value", "epitem")
	if got := b.text(matched); !strings.Contains(got, " matched, ") {
		t.Errorf("the search says %q", got)
	}
	b.want("document.documentElement.dataset.theme", "dark")
	b.open(page, "f=99999999&theme=purple") // by hand, or of another page
	b.want(crumbs, "all")
	b.noErrors()
}

func TestTheThemeIsSwitched(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.New()), "theme=light")
	light := b.text("getComputedStyle(document.body).backgroundColor")
	b.want("document.getElementById('theme').textContent", "dark")
	b.point("document.getElementById('theme')", true)
	b.want("document.documentElement.dataset.theme", "dark")
	if dark := b.text("getComputedStyle(document.body).backgroundColor"); dark == light {
		t.Errorf("both themes are on %s", dark)
	}
	b.noErrors()
}

// A tip appears where the mouse is, and stays on the page.
func TestATipTellsAFramesFigures(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.New()), "")
	b.want(tip+".hidden", "true")
	b.point(drawn("client"), false)
	row := sample.New().Machines[0].Endpoints[0]
	text := b.text(tip + ".textContent")
	for _, want := range []string{"client", format.Size(float64(row.PageBytes)), format.Count(row.PageBytes) + " B",
		"a client endpoint" + format.Size(float64(row.PageBytes)/float64(row.Count)), "objects"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tip lacks %q: %s", want, text)
		}
	}
	b.want("(r => r.left >= 0 && r.right <= innerWidth)("+tip+".getBoundingClientRect())", "true")
	b.point("document.querySelector('h1')", false)
	b.want(tip+".hidden", "true")
	b.noErrors()
}

func TestTheCrosshairWalksTheTimeline(t *testing.T) {
	b := startBrowser(t)
	r := sample.New()
	b.open(htmlOf(t, r), "")
	points := r.Machines[0].Load.Timeline
	says := func(i int) string {
		p := points[i]
		growth := float64(p.SlabBytes) - float64(points[0].SlabBytes)
		return fmt.Sprintf("%.2f s · %s established · slab %s (%s)", p.Seconds, format.Count(p.Established),
			format.SignedSize(growth), format.Size(float64(p.SlabBytes)))
	}
	const moment = "document.querySelector('.moment').textContent"
	b.js(nil, "document.querySelector('.timeline').focus()")
	b.press(keyRight, keyRight)
	b.want(moment, says(1))
	b.press(keyLeft, keyLeft, keyLeft)
	b.want(moment, says(0))
	for range points {
		b.press(keyRight)
	}
	b.press(keyRight)
	b.want(moment, says(len(points)-1))
	b.point("document.querySelector('.plot')", false)
	b.want(moment, says(len(points)/2))
	b.want("[...document.querySelectorAll('.cross')].filter(c => !c.hidden).length", "2")
	b.want("[...document.querySelectorAll('.plot')].every(p => { const box = p.getBoundingClientRect(), at = "+
		"p.querySelector('.cross i').getBoundingClientRect(); return at.left >= box.left - 10 && at.right <= box.right + 10 })", "true")
	b.point("document.querySelector('h1')", false)
	b.want(moment, "\u00a0")
	b.open(htmlOf(t, sample.TwoMachines()), "")
	b.want("document.querySelectorAll('.timeline').length", "2")
	b.point("document.querySelectorAll('.plot')[2]", false)
	b.want("[...document.querySelectorAll('.cross')].map(c => c.hidden).join()", "true,true,false,false")
	b.noErrors()
}

// The page's own figures must not read otherwise than those of the program.
func TestTheScriptWritesFiguresAsTheProgramDoes(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.New()), "")
	for _, n := range []float64{0, 1, 912, 862.3, 1023.9, 1023.96, 1024, 8208.2, 10 << 10, 10_234, 1 << 20, 158 << 20, 1<<30 - 1, 1 << 40,
		1 << 50, 1 << 62, -2048, -0.5} {
		b.want(fmt.Sprintf("size(%v)", n), format.Size(n))
	}
	for _, n := range []float64{0, 999, 1000, 20_000, 1_234_567, 1 << 40} {
		b.want(fmt.Sprintf("group(%v)", n), format.Count(int64(n)))
	}
	for _, of := range [][2]float64{{1, 3}, {1, 1e6}, {1, 0}, {0, 5}, {5, 5}, {-5, 100}, {999, 1000}} {
		b.want(fmt.Sprintf("percent(%v, %v)", of[0], of[1]), format.Percent(of[0], of[1]))
	}
}

func TestADifferenceIsColouredByWhatGrew(t *testing.T) {
	b := startBrowser(t)
	b.open(diffOf(t, sample.New(), sample.Troubled()), "")
	for class, want := range map[string]string{"d-up": "tcp_sock", "d-down": "inet_bind_bucket"} {
		b.want("[...new Set([...document.querySelectorAll('#flame .leaf."+class+"')].map(e => "+
			"e.getAttribute('aria-label').split(',')[0]))].join()", want)
	}
	b.point(drawn("server"), false)
	text := b.text(tip + ".textContent")
	for _, want := range []string{"old" + format.Size(80_738_000), "change+" + format.Size(3_200_000), "change an endpoint+160 B"} {
		if !strings.Contains(text, want) {
			t.Errorf("the tip lacks %q: %s", want, text)
		}
	}
	b.shoot("diff")
	b.noErrors()
}

// A name is text wherever it comes to: in the tables, in the frames, in a tip, in the address of a search.
func TestAHostileNameStaysText(t *testing.T) {
	attack := `</script><img src=x onerror="window.owned=1"><b>${owned}</b>'"`
	b := startBrowser(t)
	for name, made := range map[string]func() *recording.Recording{"one machine": sample.New, "two machines": sample.TwoMachines,
		"snapshot": sample.Snapshot, "live": sample.Live, "record": sample.Recorded} {
		r := made()
		sample.Forge(r, attack)
		for kind, page := range map[string]string{"page": htmlOf(t, r), "difference": diffOf(t, sample.New(), r),
			"growth": diffOf(t, sample.Live(), r), "records": diffOf(t, sample.Recorded(), r)} {
			b.open(page, "q=%3Cimg%20src=x%20onerror=window.owned=1%3E")
			b.js(nil, "for (const e of document.querySelectorAll('#flame .f')) "+
				"e.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: 50, clientY: 50}))")
			b.want("typeof window.owned", "undefined")
			b.want("document.images.length + document.querySelectorAll('#flame *, #tip img, #tip script').length - "+
				"document.querySelectorAll('#flame .f').length", "0")
			if errors := b.errors(); len(errors) > 0 {
				t.Errorf("%s, %s: %q", name, kind, errors)
			}
		}
	}
}

// noErrors fails the test if the page has said anything on the console: an error of a script, or a load that was refused.
func (b *browser) noErrors() {
	b.t.Helper()
	if errors := b.errors(); len(errors) > 0 {
		b.t.Errorf("the page says %q", errors)
	}
}

func TestEveryPageFitsEveryWidth(t *testing.T) {
	pages := map[string]string{"one-machine": htmlOf(t, sample.New()), "two-machines": htmlOf(t, sample.TwoMachines()),
		"one-kernel": htmlOf(t, sample.OneKernel()), "no-profile": htmlOf(t, sample.NoProfile()), "snapshot": htmlOf(t, sample.Snapshot()),
		"record": htmlOf(t, sample.Record()), "threads": htmlOf(t, sample.Threaded()), "troubled": htmlOf(t, sample.Troubled()),
		"difference": diffOf(t, sample.TwoMachines(), sample.Troubled())}
	b := startBrowser(t)
	for name, page := range pages {
		for _, width := range []int{1280, 400} {
			for _, theme := range []string{"light", "dark"} {
				b.resize(width, 2200)
				b.open(page, "theme="+theme)
				if !b.is("document.documentElement.scrollWidth <= document.documentElement.clientWidth") {
					t.Errorf("%s is wider than %d", name, width)
				}
				b.shoot(fmt.Sprintf("%s-%d-%s", name, width, theme))
				b.noErrors()
			}
		}
	}
}
