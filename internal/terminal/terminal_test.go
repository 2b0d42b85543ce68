package terminal

import (
	"strings"
	"testing"
)

func TestATableAlignsItsColumns(t *testing.T) {
	var b strings.Builder
	w := New(&b, Width, false)
	tab := Table{Columns: []Column{{Title: "name", Limit: 6}, {Title: "count", Right: true}}}
	tab.Add(Normal.Cell("a long name"), Bold.Cell("1"))
	tab.Rule()
	tab.Add(Cell{}, Normal.Cell("20,000"))
	w.Table(&tab)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "  name     count\n  a lon…       1\n  ──────────────\n          20,000\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestTextsKeepToTheWidth(t *testing.T) {
	var b strings.Builder
	w := New(&b, 24, false)
	w.Paragraph(Normal, "words that go over more than one line")
	w.Fact("key", "a value too long", Normal)
	w.Bullet("a note that is long as well")
	w.Label("", true)
	w.Label("machine", true)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "  words that go over\n  more than one line\n  key            a value\n                 too\n                 long\n" +
		"  · a note that is long\n    as well\n\n  machine\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestAWordThatIsTooLongIsBroken(t *testing.T) {
	if got := strings.Join(Wrap("an überlangeswort here", 6), "|"); got != "an|überla|ngeswo|rt|here" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(Wrap("exactly 6", 7), "|"); got != "exactly|6" {
		t.Errorf("got %s", got)
	}
}

func TestStylesEndAndAreLeftOutWithoutColour(t *testing.T) {
	var plain, coloured strings.Builder
	for b, color := range map[*strings.Builder]bool{&plain: false, &coloured: true} {
		w := New(b, Width, color)
		w.Line(w.Styled(Warn(true, Good), "bad"), w.Styled(Warn(false, Normal), " good"))
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if plain.String() != "bad good\n" || coloured.String() != "\x1b[33mbad\x1b[0m good\n" {
		t.Errorf("%q and %q", plain.String(), coloured.String())
	}
}

func TestABarIsNeverEmptyWhereThereIsSomething(t *testing.T) {
	for fraction, want := range map[float64]string{0: "", 0.001: "▏", 0.5: "██", 0.55: "██▎", 1: "████", 7: "████"} {
		if got := Bar(fraction, 4); got != want {
			t.Errorf("%v is %q, want %q", fraction, got, want)
		}
	}
}

func TestAColumnIsTakenOutOfATableWithARule(t *testing.T) {
	tab := Table{Columns: []Column{{Title: "a"}, {Title: "b"}}}
	tab.Add(Normal.Cell("1"), Normal.Cell("2"))
	tab.Rule()
	tab.Drop(0)
	if len(tab.Columns) != 1 || len(tab.Rows[0]) != 1 || tab.Rows[0][0].Text != "2" || tab.Rows[1] != nil {
		t.Errorf("left is %+v", tab)
	}
}
