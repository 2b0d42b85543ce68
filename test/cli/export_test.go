package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// exporter is a connprof export that serves.
type exporter struct {
	*child
	url string
}

var servesAt = regexp.MustCompile(`msg=serving at=(http://\S+)/metrics`)

func startExporter(t *testing.T, args ...string) exporter {
	t.Helper()
	c := start(t, command(t, append([]string{"export", "--listen", "127.0.0.1:0", "--interval", "1s", "--no-calibrate"}, args...)...))
	c.until(t, "it serves", func() bool { return servesAt.MatchString(c.stderr.String()) })
	return exporter{c, servesAt.FindStringSubmatch(c.stderr.String())[1]}
}

func (e exporter) get(t *testing.T, path string) (status int, body []byte) {
	t.Helper()
	return e.child.get(t, e.url+path)
}

// get asks a child that serves.
func (c *child) get(t *testing.T, url string) (status int, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%v: %s", err, c.stderr.String())
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}

// scrape is the values by series, as they stand in the text.
func (e exporter) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	status, body := e.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d: %s", status, body)
	}
	values := map[string]float64{}
	for _, line := range strings.Split(string(body), "\n") {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			value, err := strconv.ParseFloat(line[at+1:], 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			values[line[:at]] = value
		}
	}
	return values
}

// sum adds up the series of a metric that have all of some labels.
func sum(values map[string]float64, metric string, labels ...string) (total float64) {
next:
	for series, v := range values {
		if series != metric && !strings.HasPrefix(series, metric+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue next
			}
		}
		total += v
	}
	return total
}

// The metrics of a network namespace are the sockets that the test has opened in it.
func TestTheMetricsAreTheSocketsThatAreThere(t *testing.T) {
	z := newZoo(t)
	netns := strconv.Itoa(int(z.network.Inode()))
	e := startExporter(t, "--netns", netns)
	values := e.scrape(t)
	for k, n := range z.kinds() {
		want := float64(n)
		if k.role == kernel.RoleServer && k.state == "ESTABLISHED" { // accepted or not, and by whom, is no label
			want = zooEstablished + zooUnread + zooUnaccepted + 1
		}
		if k.role == kernel.RoleClient && k.state == "ESTABLISHED" {
			want = zooEstablished + zooUnread + zooUnaccepted + 1
		}
		labels := []string{fmt.Sprintf("role=%q", k.role), fmt.Sprintf("state=%q", k.state)}
		if got := sum(values, "connprof_connections", labels...); got != want {
			t.Errorf("%v of %v, want %v", got, labels, want)
		}
	}
	if got := sum(values, "connprof_connection_unread_bytes"); got != zooUnread*unreadEach {
		t.Errorf("%v bytes unread, want %d", got, zooUnread*unreadEach)
	}
	at := fmt.Sprintf("listener=%q", z.address)
	if got := sum(values, "connprof_accept_queue_length", at, fmt.Sprintf("netns=%q", netns)); got != zooUnaccepted {
		t.Errorf("%v wait to be accepted, want %d", got, zooUnaccepted)
	}
	if got := sum(values, "connprof_accept_queue_limit", at, fmt.Sprintf("netns=%q", netns)); got != 64 {
		t.Errorf("a backlog of %v, want 64", got)
	}
	m := snapshot(t, "--netns", netns, "--no-calibrate")
	var pages, rows float64
	for _, row := range m.Endpoints {
		pages += float64(row.PageBytes)
		rows += float64(row.Count)
	}
	if got := sum(values, "connprof_connection_page_bytes"); got != pages {
		t.Errorf("%v bytes of pages, a snapshot has %v", got, pages)
	}
	if got := sum(values, "connprof_connections"); got != rows {
		t.Errorf("%v sockets, a snapshot has %v", got, rows)
	}
	if got := e.ends(t, syscall.SIGTERM); got.code != exitDone {
		t.Errorf("after SIGTERM: %v", got)
	}
}

// What is opened, closed and refused between two scrapes is counted, of the whole host.
func TestOpensAndClosesAreCountedBetweenScrapes(t *testing.T) {
	const pairs, refused = 30, 4
	e := startExporter(t)
	before := e.scrape(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range pairs {
		client, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		server.Close()
	}
	for range refused {
		if c, err := net.Dial("tcp4", "127.0.0.1:1"); err == nil {
			c.Close()
			t.Fatal("something listens at port 1")
		}
	}
	var opens, closes, failures float64
	e.until(t, "the opens are counted", func() bool {
		now := e.scrape(t)
		rise := func(metric string, labels ...string) float64 {
			return sum(now, metric, labels...) - sum(before, metric, labels...)
		}
		opens, closes = rise("connprof_opens_total"), rise("connprof_closes_total")
		failures = rise("connprof_connect_failures_total", `error="ECONNREFUSED"`)
		return opens >= 2*pairs+refused && closes >= 2*pairs+refused && failures >= refused
	})
	// What the kernel has skipped on a busy host is counted beside it.
	if lost := sum(e.scrape(t), "connprof_losses_total", `reason="map_full"`); lost != 0 {
		t.Errorf("%v lost", lost)
	}
}

func TestTheProfileNamesWhoOpenedConnections(t *testing.T) {
	e := startExporter(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over := make(chan struct{})
	opened := make(chan []net.Conn)
	go func() {
		var list []net.Conn
		for clock := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-over:
				opened <- list
				return
			case <-clock.C:
				if c, err := net.Dial("tcp4", l.Addr().String()); err == nil {
					list = append(list, c)
				}
			}
		}
	}()
	status, body := e.get(t, "/debug/pprof/connections?seconds=2")
	close(over)
	for _, c := range <-opened {
		defer c.Close()
	}
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	p, err := profile.ParseData(body)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range p.Function {
		found = found || strings.Contains(f.Name, "TestTheProfileNamesWhoOpenedConnections")
	}
	if !found {
		t.Errorf("no function of this test in the profile: %v", p)
	}
}

func TestAnExportThatCannotServeSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	connprof(t, "export", "--listen", taken.Addr().String()).refuses(t, exitFailed, "address already in use")
	config := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(config, []byte("tls: yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	connprof(t, "export", "--web-config", config).refuses(t, exitFailed, "--web-config", "web-configuration.md")
	connprof(t, "export", "--web-config", config+".not").refuses(t, exitFailed, "--web-config", "no such file")
	for _, args := range [][]string{{"--listen", "9876"}, {"--interval", "10ms"}, {"--filter", "nonsense =="}, {"--listen", ""}} {
		connprof(t, append([]string{"export"}, args...)...).refuses(t, exitUsage, args[0])
	}
}

// Basic auth from a file of exporter-toolkit's format: without the password there is no answer.
func TestAnExporterAsksForThePassword(t *testing.T) {
	config := filepath.Join(t.TempDir(), "web.yml")
	// bcrypt of "secret"
	text := "basic_auth_users:\n  watcher: $2y$05$nzFpuzG7cY1a6uTmDqFgd.Fo8qhZ1c9rBzk6SRfX2LyyRXfxgLnC2\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startExporter(t, "--walk-only", "--web-config", config)
	if status, _ := e.get(t, "/metrics"); status != http.StatusUnauthorized {
		t.Errorf("without a password: %d", status)
	}
}

// Once it serves, none of its threads can do more than looks and profiles need.
func TestAnExporterGivesUpWhatItDoesNotNeed(t *testing.T) {
	e := startExporter(t)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/status", e.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%v: %d threads", err, len(threads))
	}
	const keeps = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_CHECKPOINT_RESTORE
	for _, file := range threads {
		status := string(readFile(t, file))
		for _, set := range []string{"CapEff", "CapPrm"} {
			if got := after(status, set+":\t"); got != fmt.Sprintf("%016x", uint64(keeps)) {
				t.Errorf("%s: %s is %s, want %016x", file, set, got, uint64(keeps))
			}
		}
	}
	if e.scrape(t)["connprof_unexplained_bytes"] == 0 {
		t.Error("it has no books any more")
	}
}

// after is what a line says behind a word.
func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	line, _, _ := strings.Cut(rest, "\n")
	return line
}
