package vm

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/connprof/connprof/test/vm/wire"
)

// amounts are what differs from kernel to kernel, and from one time to the next.
var amounts = regexp.MustCompile(`\d[\d,.]*( [KMG]?i?B)?( N)*`)

// withoutAmounts has N for each number or row of numbers, and one blank between words.
func withoutAmounts(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = amounts.ReplaceAllString(strings.Join(strings.Fields(line), " "), "N")
		lines[i] = regexp.MustCompile(`N( N)+`).ReplaceAllString(line, "N")
	}
	return strings.Join(lines, "\n")
}

// checkPage holds docs/guide/limits.md against what was typed and answered in the virtual machine: the page has all of it, with
// other amounts.
func checkPage(t *testing.T, files map[string][]byte) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "guide", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for name, transcript := range files {
		if path.Dir(name) != wire.LimitsDir {
			continue
		}
		found++
		if err := hasTranscript(string(page), string(transcript)); err != nil {
			t.Errorf("docs/guide/limits.md on %s: %v", strings.TrimSuffix(path.Base(name), ".txt"), err)
		}
	}
	if found == 0 {
		t.Error("no transcript came back")
	}
}

func hasTranscript(page, transcript string) error {
	if strings.TrimSpace(transcript) == "" {
		return fmt.Errorf("the transcript is empty")
	}
	if !strings.Contains(withoutAmounts(page), withoutAmounts("```\n"+transcript+"```\n")) {
		return fmt.Errorf("it has no block with what came on this kernel, whatever the amounts:\n%s", transcript)
	}
	return nil
}

func TestAPageThatIsNotWhatCameIsFound(t *testing.T) {
	const came = "# sysctl -w fs.file-max=150\n$ hold 300\nconnection 71: socket: too many open files in system\n  row   12 1.2 KiB  3\n"
	page := "Text.\n\n```\n" + came + "```\n"
	for text, want := range map[string]bool{came: true, strings.ReplaceAll(came, "71", "144"): true,
		strings.ReplaceAll(came, "1.2 KiB", "17"): true, strings.ReplaceAll(came, "12 1.2 KiB  3", "3 1,000.0 MiB"): true,
		strings.ReplaceAll(came, "too many open files in system", "no buffer space available"): false,
		came + "300 connections\n": false, "": false, strings.ReplaceAll(came, "hold", "held"): false} {
		if err := hasTranscript(page, text); (err == nil) != want {
			t.Errorf("error is %v for\n%s", err, text)
		}
	}
}
