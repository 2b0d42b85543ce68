// Package docs holds the pages of README.md and docs/ together: links lead somewhere, each page is of one kind, and the words
// are those that the project has agreed on.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const top = "../.."

// pages returns each Markdown page of the project by its path from the top.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != top && strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".github":
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(top, path)
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("%d pages were found", len(found))
	}
	return found
}

var (
	fences   = regexp.MustCompile("(?ms)^```.*?^```$")
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInID  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names that a forge gives to a page's headings.
func anchors(text string) []string {
	var found []string
	for _, h := range headings.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
		found = append(found, strings.ReplaceAll(notInID.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return found
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all, seen := pages(t), 0
	for name, text := range all {
		for _, link := range links.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			seen++
			path, anchor, _ := strings.Cut(link[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, link[1])
			} else if anchor != "" && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading: %q", name, link[1], target, anchors(all[target]))
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d links were looked at", seen)
	}
}

// kinds are the directories that a page of docs/ may be in: a page is a guide, a reference, a result or a decision.
var kinds = []string{"guide", "reference", "results", "decisions"}

func TestEveryPageIsOfOneKindAndCanBeReached(t *testing.T) {
	all := pages(t)
	linked := map[string]bool{"docs/README.md": true}
	for name, text := range all {
		for _, link := range links.FindAllStringSubmatch(text, -1) {
			path, _, _ := strings.Cut(link[1], "#")
			linked[filepath.Join(filepath.Dir(name), path)] = true
		}
	}
	for name := range all {
		kind, inside := strings.CutPrefix(filepath.Dir(name), "docs/")
		if inside && !slices.Contains(kinds, kind) {
			t.Errorf("%s lies in none of docs/%q", name, kinds)
		}
		if strings.HasPrefix(name, "docs/") && !linked[name] {
			t.Errorf("no page links to %s", name)
		}
	}
}

var dated = regexp.MustCompile(`^# \d+\. .+\n\n20\d\d-\d\d-\d\d\n\n## Context\n(?s:.+)\n## Decision\n(?s:.+)\n## Consequences\n`)

func TestADecisionHasADateAndItsThreeParts(t *testing.T) {
	seen := 0
	for name, text := range pages(t) {
		if filepath.Dir(name) != "docs/decisions" || filepath.Base(name) == "README.md" {
			continue
		}
		seen++
		if !dated.MatchString(text) {
			t.Errorf("%s is not: a number and a title, a date, context, decision, consequences", name)
		}
	}
	if seen == 0 {
		t.Error("there is no decision")
	}
}

// words that a page does not use, and what it says instead.
var words = []struct{ not, but string }{
	{`\b[Rr]ooms?\b`, "package, or space"},
	{`\bto be had\b`, "available"},
	{`\bdocs/(account|design|four-tuple|limits|measured|netup|recording|scale|scenarios|threads|two-machines)\.md\b`, "the page's new place"},
	{`\./(vmtest|scripts|run|account|report|limits|peer)\b`, "the package's new place"},
}

func TestPagesUseTheWordsAgreedOn(t *testing.T) {
	for name, text := range pages(t) {
		for _, w := range words {
			if at := regexp.MustCompile(w.not).FindString(text); at != "" {
				t.Errorf("%s says %q; say %s", name, at, w.but)
			}
		}
		for i, line := range strings.Split(fences.ReplaceAllString(text, ""), "\n") {
			if len([]rune(line)) > 130 && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "[") {
				t.Errorf("%s: line %d of the text has %d characters", name, i+1, len([]rune(line)))
			}
		}
	}
}
