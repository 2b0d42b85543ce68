package report_test

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
	"github.com/connprof/connprof/internal/report/text"
)

var update = flag.Bool("update", false, "write the texts below testdata/v1 anew")

func readV1(t *testing.T, name string) *recording.Recording {
	t.Helper()
	r, err := recording.ReadFile(filepath.Join("..", "recording", "testdata", "v1", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The texts below testdata/v1 were written by the last connprof that wrote schema 1, but for no-profile: that had sections of
// zeros for what was not measured.
func TestARecordingOfSchema1IsRenderedAsBefore(t *testing.T) {
	files, err := filepath.Glob("testdata/v1/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d texts, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		got := sample.Render(t, func(w io.Writer) error {
			if older, newer, both := strings.Cut(name, "-to-"); both {
				return text.Format{}.WriteDiff(w, report.Compare(readV1(t, older), readV1(t, newer)))
			}
			return text.Format{}.Write(w, report.New(readV1(t, name)))
		})
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the text is not what it was; go test ./internal/report -run Schema1 -update writes it anew:\n%s", name, got)
		}
	}
}
