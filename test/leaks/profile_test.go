package leaks

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

var servesAt = regexp.MustCompile(`msg=serving at=(http://\S+)/metrics`)

// An exporter has given up most capabilities by the time that somebody wants a profile. It still reads a library whose file an
// upgrade has taken away.
func TestAProfileNamesTheCodeOfADeletedLibrary(t *testing.T) {
	e := start(t, exec.Command(connprof, "export", "--listen", "127.0.0.1:0", "--no-calibrate"), (*exec.Cmd).Start)
	e.until(t, "it serves", func() bool { return servesAt.MatchString(e.stderr.String()) })
	program := withLibrary(t)
	library := filepath.Join(t.TempDir(), "libdeleted.so")
	code, err := os.ReadFile(program[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(library, code, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, here).serve(silent)
	const opens, seconds = "2000", "100" // it has not done by the time that the profile begins, whenever that is
	c := start(t, exec.Command(program[0], library, s.port(), opens, seconds), (*exec.Cmd).Start)
	c.says(t, "ready")
	if err := os.Remove(library); err != nil {
		t.Fatal(err)
	}
	c.tell(t)
	answer, err := http.Get(servesAt.FindStringSubmatch(e.stderr.String())[1] + "/debug/pprof/connections?seconds=3")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %v: %s", answer.Status, err, body)
	}
	p, err := profile.ParseData(body)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range p.Function {
		names = append(names, f.Name)
	}
	if all := strings.Join(names, " "); !strings.Contains(all, cLeak) || !strings.Contains(all, cPool) {
		t.Errorf("no %s and no %s in the profile: %s; %v", cLeak, cPool, all, e)
	}
}
