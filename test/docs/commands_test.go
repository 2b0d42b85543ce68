package docs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// helpFlag is a flag in the output of --help, rowFlag the same in a table of the page.
	helpFlag = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)
	rowFlag  = regexp.MustCompile("(?m)^\\| (?:`-\\w`, )?`--([a-z0-9-]+)`")
	section  = regexp.MustCompile(`(?ms)^## connprof (\w+)\n(.*?)(?:^## |\z)`)
	listed   = regexp.MustCompile(`(?m)^  ([a-z]+) +`)
)

// own are the flags of a command alone: --help and --no-color are everybody's.
func own(matches [][]string) []string {
	var names []string
	for _, m := range matches {
		if m[1] != "help" && m[1] != "no-color" {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return names
}

func TestThePageOfCommandsHasEveryFlag(t *testing.T) {
	program := filepath.Join(t.TempDir(), "connprof")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/connprof").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	help := func(args ...string) string {
		out, err := exec.Command(program, append(args, "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("connprof %q --help: %v\n%s", args, err, out)
		}
		return string(out)
	}
	page := pages(t)["docs/reference/commands.md"]
	shown := map[string][]string{}
	// A section ends where the next begins: the heads are looked for one by one.
	for at := page; ; {
		m := section.FindStringSubmatchIndex(at)
		if m == nil {
			break
		}
		shown[at[m[2]:m[3]]] = own(rowFlag.FindAllStringSubmatch(at[m[4]:m[5]], -1))
		at = at[m[5]:]
	}
	_, commands, _ := strings.Cut(help(), "Available Commands:")
	names := 0
	for _, m := range listed.FindAllStringSubmatch(commands, -1) {
		if slices.Contains([]string{"completion", "help", "version"}, m[1]) {
			continue
		}
		names++
		if want := own(helpFlag.FindAllStringSubmatch(help(m[1]), -1)); !slices.Equal(shown[m[1]], want) {
			t.Errorf("connprof %s has the flags %q; the page shows %q", m[1], want, shown[m[1]])
		}
		delete(shown, m[1])
	}
	if names < 7 || len(shown) > 0 {
		t.Errorf("%d commands were looked at; the page shows %v beyond them", names, shown)
	}
}
