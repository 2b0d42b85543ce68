//go:build browser

package html

import (
	"fmt"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

const pathPanel = "document.getElementById('path')"

// measure clicks the button of a measure.
func (b *browser) measure(name string) {
	b.t.Helper()
	b.point(fmt.Sprintf("[...document.querySelectorAll('.measures button')].find(e => e.textContent === %q)", name), true)
}

// summed adds up a figure of the openers that a rule takes.
func summed(of func(*recording.Opener) int, takes func(*recording.Opener) bool) (n int) {
	openers := sample.Recorded().Machines[0].Openers
	for i := range openers {
		if takes(&openers[i]) {
			n += of(&openers[i])
		}
	}
	return n
}

func everyone(*recording.Opener) bool { return true }

func ofComm(comm string) func(*recording.Opener) bool {
	return func(o *recording.Opener) bool { return o.Comm == comm }
}

// worker is the process of nginx that connects; those that accept are four, and a row of their own.
func worker(o *recording.Opener) bool { return o.Comm == "nginx" && len(o.PIDs) == 0 }

func TestTheCodeIsAsWideAsTheMeasureChosen(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Recorded()), "")
	bytes := func(o *recording.Opener) int { return int(o.LivePageBytes + o.LiveBufferBytes) }
	for _, c := range []struct {
		name, unit, frame string
		of                func(*recording.Opener) int
		takes             func(*recording.Opener) bool
	}{
		{"still open, bytes", "", "api 4711", bytes, ofComm("api")},
		{"still open, sockets", "still open", "nginx 1812", func(o *recording.Opener) int { return o.Live }, worker},
		{"opened", "opened", "nginx 1812", func(o *recording.Opener) int { return o.Opened }, worker},
		{"failed", "failed", "python3 6001", func(o *recording.Opener) int { return o.Failed }, ofComm("python3")},
	} {
		b.measure(c.name)
		n, all := summed(c.of, c.takes), summed(c.of, everyone)
		said := format.Count(n) + " " + c.unit
		if c.unit == "" {
			said = format.Size(float64(n))
		}
		b.want(label(c.frame), fmt.Sprintf("%s, %s, %s", c.frame, said, format.Percent(float64(n), float64(all))))
	}
	b.want("location.hash", "#m=failed")
	b.want("Boolean("+drawn("ECONNREFUSED")+")", "true")
	b.want("document.querySelector('.measures [aria-pressed=true]').textContent", "failed")
	b.open(htmlOf(t, sample.Recorded()), "m=open")
	b.want("Boolean("+drawn("CLOSE_WAIT")+")", "true")
	b.open(htmlOf(t, sample.Recorded()), "m=nonsense")
	b.want("document.querySelector('.measures [aria-pressed=true]').textContent", "still open, bytes")
	b.noErrors()
}

// User code and kernel objects are one picture.
func TestBelowTheCodeAreTheKernelObjects(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Recorded()), "")
	b.point(drawn("api 4711"), true)
	b.want("[...document.querySelectorAll('#flame .f:not(.leaf)')].map(e => e.textContent).filter(s => s).slice(-1)[0]", "connect()")
	b.want("Boolean("+drawn("tcp_sock")+")", "true")
	b.want(drawn("tcp_sock")+".classList.contains('c-sock')", "true")
	b.want("Boolean("+drawn("pool.(*Pool).dial")+")", "true") // without the path of its package
	b.noErrors()
}

func TestAClickOnAFrameShowsWhatBecameOfItsConnections(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Recorded()), "")
	b.want(pathPanel+".hidden", "true")
	b.point(drawn("pool.(*Pool).dial"), true)
	text := b.text(pathPanel + ".textContent")
	for _, want := range []string{"github.com/acme/api/pool.(*Pool).dial", "/src/api/pool/pool.go:88", "opened1,212", "failed12", "still open300", "1.8 s, 8.0 s, 30 s",
		"p50 30 s, longest 58 s", "CLOSE_WAIT280", "10.0.3.7:5432300", "ECONNREFUSED12", "tcp_sock (TCP)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the panel lacks %q: %s", want, text)
		}
	}
	b.measure("failed") // the same path, as wide as another measure
	if got := b.text(crumbs); !strings.Contains(got, "pool.(*Pool).dial") {
		t.Errorf("the zoom is %q", got)
	}
	b.press(keyEscape)
	b.want(pathPanel+".hidden", "true")
	b.point("[...document.querySelectorAll('.path')].find(e => e.textContent.startsWith('fetch'))", true)
	if got := b.text(pathPanel + ".textContent"); !strings.Contains(got, "ECONNREFUSED800") {
		t.Errorf("a click in the table shows %s", got)
	}
	b.want("document.querySelector('.measures [aria-pressed=true]').textContent", "failed")
	b.noErrors()
}

func TestTheCodePathsAreSortedAndSearched(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Recorded()), "")
	first := "document.querySelector('.paths tbody tr').cells[1].firstChild.textContent"
	b.want(first, "opened before")
	b.point("[...document.querySelectorAll('.paths th button')].find(e => e.textContent === 'failed')", true)
	b.want(first, "python3 6001")
	b.js(nil, "const i = document.getElementById('find-path'); i.value = 'UPSTREAM'; i.dispatchEvent(new Event('input'))")
	b.want("document.getElementById('found-paths').textContent", "1 of 12")
	b.noErrors()
}

func TestTheCrosshairWalksTheCourseOfARecord(t *testing.T) {
	b := startBrowser(t)
	b.open(htmlOf(t, sample.Recorded()), "")
	b.js(nil, "document.querySelector('.timeline').focus()")
	b.press(keyRight, keyRight)
	b.want("document.querySelector('.moment').textContent", "1.00 s · 247 opened/s · 230 closed/s · 17 open")
	b.want("[...document.querySelectorAll('.cross')].filter(c => !c.hidden).length", "3")
	b.noErrors()
}

func TestARecordsPageInItsWidthsAndThemes(t *testing.T) {
	b := startBrowser(t)
	for name, page := range map[string]string{"recorded": htmlOf(t, sample.Recorded()), "records": diffOf(t, sample.Recorded(), sample.RecordedLater()),
		"many": htmlOf(t, manyPaths())} {
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int{1280, 400} {
				b.resize(width, 3000)
				b.open(page, "theme="+theme)
				if !b.is("document.documentElement.scrollWidth <= innerWidth") {
					t.Errorf("%s is wider than %d", name, width)
				}
				b.shoot(fmt.Sprintf("%s-%s-%d", name, theme, width))
			}
		}
	}
	b.noErrors()
}
