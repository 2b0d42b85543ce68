package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	thePage  = "../../docs/reference/architecture.md"
	theBoxes = "../../docs/images/architecture.txt"
)

// written returns the name of a new file.
func written(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestThePictureShowsEveryPackageAndNoOther(t *testing.T) {
	text, err := os.ReadFile(theBoxes)
	if err != nil {
		t.Fatal(err)
	}
	boxes := string(text)
	withoutLoad := regexp.MustCompile(`box \d+ \d+-\d+ load\n`).ReplaceAllString(boxes, "")
	for _, c := range []struct{ name, boxes, refused string }{
		{"as it is", boxes, ""},
		{"without load", withoutLoad, "load has a row in the table and no box"},
		{"with one more", boxes + "box 6 5-5 invented\n", "invented has a box and no row"},
		{"a flow from nowhere", boxes + `flow nowhere bpf ""` + "\n", "nowhere has no box"},
		{"a line of another kind", boxes + "circle 1 2\n", "neither a box nor a flow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(thePage, written(t, c.boxes))
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("the error is %v, in place of %q", err, c.refused)
			}
		})
	}
}

func TestAPictureThatIsNotOfTheTextsIsFound(t *testing.T) {
	picture := written(t, "")
	if err := run(thePage, theBoxes, picture, true); err == nil {
		t.Error("an empty picture passes")
	}
	if err := run(thePage, theBoxes, picture, false); err != nil {
		t.Fatal(err)
	}
	if err := run(thePage, theBoxes, picture, true); err != nil {
		t.Error(err)
	}
}
