package format

import "testing"

func TestTextsAreAsWideAsATerminalShowsThem(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "ünïcode": 7, "内核": 4, "e\u0301": 1, "ｆ": 2, "–…█": 3, "\u200b": 0, "😀": 2} {
		if got := Columns(text); got != want {
			t.Errorf("%q has %d columns, want %d", text, got, want)
		}
	}
}

func TestATextIsCutAtAColumn(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"内核内核", 8, "内核内核"}, {"内核内核", 7, "内核内…"}, {"内核内核", 6, "内核…"}, {"", 1, ""},
		{"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"e\u0301bc", 2, "e\u0301…"}} {
		if got := Shorten(c.text, c.limit); got != c.want || Columns(got) > c.limit {
			t.Errorf("%q cut to %d is %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func TestAHeadFitsAndIsNeverEmpty(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"内核", 3, "内"}, {"内核", 1, "内"}, {"", 3, ""}, {"e\u0301bc", 1, "e\u0301"}} {
		if got := Head(c.text, c.limit); got != c.want {
			t.Errorf("the head of %q in %d columns is %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func TestACellIsNoFormula(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "=a": "'=a", "@a": "'@a", "-a": "'-a", "+1": "'+1", "\ta": "'\ta", "a=": "a="} {
		if got := Cell(text); got != want {
			t.Errorf("%q is the cell %q, want %q", text, got, want)
		}
	}
}
