package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// progress shows a run on stderr: one line that is written over on a terminal, else a plain line now and then.
type progress struct {
	w        io.Writer
	terminal bool
	width    int // of the line that stands on the terminal
	printed  time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, terminal: term.IsTerminal(int(os.Stderr.Fd())) && knownTerminal()}
}

// usualColumns is the width of a terminal that does not say how wide it is.
const usualColumns = 80

// plainEvery is how far apart plain lines are.
const plainEvery = 2 * time.Second

// hooks prints which probe each hook got, and why not a better one.
func (p *progress) hooks(list []recording.Hook) {
	for _, h := range list {
		line := fmt.Sprintf("%s: %s %s", h.Name, h.Kind, h.Function)
		if h.Note != "" {
			line += " (" + h.Note + ")"
		}
		fmt.Fprintln(p.w, line)
	}
}

// told shows what a run waits for, which stays on the terminal.
func (p *progress) told(text string) {
	p.clear()
	fmt.Fprintln(p.w, text)
}

func (p *progress) show(s experiment.Status) { p.line(statusLine(s), s.Done) }

// line shows a line in place of the one before. The last one is shown in any case.
func (p *progress) line(line string, last bool) {
	if !p.terminal && !last && time.Since(p.printed) < plainEvery {
		return
	}
	p.printed = time.Now()
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	line = format.Shorten(line, p.columns()-1) // a line that reaches the edge makes some terminals go on to the next
	used := format.Columns(line)
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(p.width-used, 0)))
	p.width = used
}

// columns is how wide the terminal is now.
func (p *progress) columns() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || width <= 1 {
		return usualColumns
	}
	return width
}

// clear takes the line off the terminal.
func (p *progress) clear() {
	if p.terminal && p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", min(p.width, p.columns()-1)))
		p.width = 0
	}
}

func statusLine(s experiment.Status) string {
	line := fmt.Sprintf("%5.1f s  %d of %d up", s.Elapsed.Seconds(), s.Established, s.Requested)
	if s.Failed > 0 {
		line += fmt.Sprintf(", %d failed", s.Failed)
	}
	line += fmt.Sprintf("  %.0f/s  slab %+.1f MiB", s.PerSecond, float64(s.SlabBytes)/(1<<20))
	if s.PerEndpoint > 0 {
		line += fmt.Sprintf("  %.0f B an endpoint", s.PerEndpoint)
	}
	if s.Left > 0 && !s.Done {
		line += fmt.Sprintf("  %.0f s left", s.Left.Seconds())
	}
	return line
}
