package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const contrib = "../../contrib"

// prometheusTool is where one of the two programs of Debian's package prometheus is.
func prometheusTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: make prometheus-tools", name)
	}
	return path
}

// promtool runs it to its end, and returns all that it has said.
func promtool(t *testing.T, input []byte, args ...string) (said string, err error) {
	t.Helper()
	cmd := exec.Command(prometheusTool(t, "promtool"), args...)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPromtoolFindsNothingInWhatIsScraped(t *testing.T) {
	z := newZoo(t)
	e := startExporter(t, "--netns", fmt.Sprint(z.network.Inode()))
	status, body := e.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	for _, metric := range []string{"connections", "accept_queue_limit", "unexplained_bytes", "connection_lifetime_seconds_bucket",
		"losses_total"} {
		if !bytes.Contains(body, []byte("\nconnprof_"+metric+"{")) && !bytes.Contains(body, []byte("\nconnprof_"+metric+" ")) {
			t.Errorf("connprof_%s is not there", metric)
		}
	}
	if said, err := promtool(t, body, "check", "metrics"); err != nil || said != "" {
		t.Errorf("%v: %s", err, said)
	}
	// It would say something: a counter whose name does not tell that it is one.
	bad := bytes.ReplaceAll(body, []byte("connprof_opens_total"), []byte("connprof_opens"))
	if said, err := promtool(t, bad, "check", "metrics"); err == nil || !strings.Contains(said, "connprof_opens") {
		t.Errorf("a bad name passes: %v %s", err, said)
	}
}

var alertName = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)

// Each alert comes when it should and at no other time, as rules_test.yml has it; and that has each alert.
func TestTheRulesAlertWhenTheyShould(t *testing.T) {
	dir := filepath.Join(contrib, "prometheus")
	for _, args := range [][]string{{"check", "rules", "rules.yml"}, {"check", "config", "prometheus.yml"},
		{"test", "rules", "rules_test.yml"}} {
		args[2] = filepath.Join(dir, args[2])
		if said, err := promtool(t, nil, args...); err != nil {
			t.Errorf("promtool %q: %v: %s", args, err, said)
		}
	}
	rules, cases := readFile(t, filepath.Join(dir, "rules.yml")), readFile(t, filepath.Join(dir, "rules_test.yml"))
	names := alertName.FindAllSubmatch(rules, -1)
	if len(names) < 6 {
		t.Errorf("%d alerts", len(names))
	}
	changed := t.TempDir()
	renamed := alertName.ReplaceAll(rules, []byte("      - alert: Not$1"))
	for file, text := range map[string][]byte{"rules.yml": renamed, "rules_test.yml": cases} {
		if err := os.WriteFile(filepath.Join(changed, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said, err := promtool(t, nil, "test", "rules", filepath.Join(changed, "rules_test.yml"))
	for _, name := range names {
		if missed := fmt.Sprintf("alertname: %s,", name[1]); err == nil || !strings.Contains(said, missed) {
			t.Errorf("no case of rules_test.yml expects %s: %v: %s", name[1], err, said)
		}
	}
}

// dashboardQueries are what the panels of the dashboard ask Prometheus for, of all instances.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	var d struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(readFile(t, filepath.Join(contrib, "grafana", "connprof.json")), &d); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$instance", ".+", "$__rate_interval", "1m")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries = append(queries, variables.Replace(target.Expr))
		}
	}
	if len(queries) < 30 {
		t.Fatalf("%d queries", len(queries))
	}
	return queries
}
