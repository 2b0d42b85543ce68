package main

import (
	"strings"
	"testing"
)

func TestColoursBecomeSpans(t *testing.T) {
	for text, want := range map[string]string{
		"plain <b>":                     "plain &lt;b&gt;",
		"\x1b[1mbold\x1b[0m not":        `<span class="b">bold</span> not`,
		"\x1b[2m\x1b[33mdim\x1b[m x":    `<span class="d c33">dim</span> x`,
		"\x1b[1;34mboth\x1b[0m\x1b[2my": `<span class="b c34">both</span><span class="d">y</span>`,
	} {
		if got := coloured(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestAPageHasTheCommandAndTheFirstLines(t *testing.T) {
	var out strings.Builder
	page(&out, "run --x <y>", "one\r\ntwo\r\nthree\r\n", 2)
	if s := out.String(); !strings.Contains(s, "</span> run --x &lt;y&gt;\none\ntwo\n</pre>") {
		t.Error(s)
	}
}

func TestWhatIsBetweenIsLeftOut(t *testing.T) {
	const text = "answer\r\n\r\nRun\r\n  x\r\n\r\n\x1b[1mAccount\x1b[0m of\r\n  y\r\n"
	if got, want := cut(text, "Account"), "answer\n\n...\n\n\x1b[1mAccount\x1b[0m of\n  y\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := cut(text, ""); got != text {
		t.Errorf("with nothing to leave out: %q", got)
	}
}
