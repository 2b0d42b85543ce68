package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/recording"
)

// prometheus is Debian's, scraping an exporter each second.
type prometheus struct {
	*child
	url string
}

var listensOn = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

func startPrometheus(t *testing.T, e exporter) prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(contrib, "prometheus", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n"+
		"  - {job_name: connprof, static_configs: [{targets: [%q]}]}\n", rules, strings.TrimPrefix(e.url, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, exec.Command(prometheusTool(t, "prometheus"), "--config.file", file, "--storage.tsdb.path",
		filepath.Join(dir, "data"), "--web.listen-address", "127.0.0.1:0", "--enable-feature", "native-histograms"))
	c.until(t, "Prometheus listens", func() bool { return listensOn.MatchString(c.stderr.String()) })
	p := prometheus{c, "http://" + listensOn.FindStringSubmatch(c.stderr.String())[1]}
	p.until(t, "Prometheus is ready", func() bool {
		status, _ := p.get(t, p.url+"/-/ready")
		return status == http.StatusOK
	})
	return p
}

// ask gets what its API answers into data.
func (p prometheus) ask(t *testing.T, path string, values url.Values, data any) {
	t.Helper()
	_, answer := p.get(t, p.url+path+"?"+values.Encode())
	var body struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(answer, &body); err != nil {
		t.Fatalf("%s: %v: %.500s", path, err, answer)
	}
	if body.Status != "success" {
		t.Fatalf("%s %v: %s", path, values, body.Error)
	}
	if err := json.Unmarshal(body.Data, data); err != nil {
		t.Fatalf("%s %v: %v: %.500s", path, values, err, body.Data)
	}
}

// query is the values that an expression has now, by the values of some labels.
func (p prometheus) query(t *testing.T, expr string, labels ...string) map[string]float64 {
	t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any // a time, and a number as text
		}
	}
	p.ask(t, "/api/v1/query", url.Values{"query": {expr}}, &data)
	values := map[string]float64{}
	for _, row := range data.Result {
		key := ""
		for _, l := range labels {
			key += " " + row.Metric[l]
		}
		text, _ := row.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: %v: %+v", expr, err, row)
		}
		if _, twice := values[key]; twice {
			t.Fatalf("%s: two series of%s", expr, key)
		}
		values[key] = value
	}
	return values
}

// one is the value of an expression of one series, 0 where there is none yet.
func (p prometheus) one(t *testing.T, expr string) float64 { return p.query(t, expr)[""] }

// stored is what Prometheus has of the sockets of a network namespace, all by one look. A scrape that failed has none.
func (p prometheus) stored(t *testing.T, netns string) (all map[string]float64) {
	t.Helper()
	p.until(t, "values of one look", func() bool {
		look := p.one(t, "connprof_look_timestamp_seconds")
		all = p.now(t, netns)
		return look > 0 && p.one(t, "connprof_look_timestamp_seconds") == look
	})
	return all
}

// now is what it has at the moment.
func (p prometheus) now(t *testing.T, netns string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, q := range []struct {
		what, expr string
		labels     []string
	}{{"sockets", "sum by (role, state) (connprof_connections)", []string{"role", "state"}},
		{"pages", "sum by (role) (connprof_connection_page_bytes)", []string{"role"}},
		{"objects", "sum by (type) (connprof_connection_object_bytes)", []string{"type"}},
		{"queue", "sum by (queue) (connprof_connection_buffer_bytes)", []string{"queue"}},
		{"unread", "sum(connprof_connection_unread_bytes)", nil},
		{"waiting", fmt.Sprintf("connprof_accept_queue_length{netns=%q}", netns), []string{"listener"}},
		{"backlog", fmt.Sprintf("connprof_accept_queue_limit{netns=%q}", netns), []string{"listener"}}} {
		for key, v := range p.query(t, q.expr, q.labels...) {
			all[q.what+key] = v
		}
	}
	return all
}

// asStored is the same of a snapshot.
func asStored(m *recording.Machine, netns string) map[string]float64 {
	all := map[string]float64{}
	for _, g := range m.Groups {
		all[fmt.Sprintf("sockets %s %s", g.Role, g.State)] += float64(g.Count)
		all["pages "+g.Role.String()] += float64(g.PageBytes)
		all["queue receive"] += float64(g.RxBytes)
		all["queue send"] += float64(g.TxBytes)
		all["unread"] += float64(g.UnreadBytes)
	}
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			all["objects "+o.Type] += float64(o.ObjectBytes)
		}
	}
	for _, l := range m.Look.Listeners {
		if strconv.Itoa(int(l.Netns)) == netns {
			all["waiting "+l.Address], all["backlog "+l.Address] = float64(l.Queue), float64(l.Backlog)
		}
	}
	return all
}

const (
	crowdPairs     = 970
	crowdCloseWait = 20
	// mostChurn bounds how many connections come and go beside them.
	mostChurn = 2000
)

// newCrowd is 2,000 sockets and some, none of which goes by itself.
func newCrowd(t *testing.T) *zoo {
	t.Helper()
	z := emptyZoo(t)
	err := z.network.Do(func() error {
		return z.open([]zooStep{{1, z.listen}, {crowdPairs, z.established}, {zooUnread, z.unread}, {crowdCloseWait, z.closeWait}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// comeAndGo opens a connection and resets it, so that nothing of it stays. It is for when nobody waits in the accept queue.
func (z *zoo) comeAndGo() error {
	client, server, err := z.pair()
	if err != nil {
		return err
	}
	z.files = z.files[:len(z.files)-2]
	var errs []error
	for _, fd := range []int{client, server} {
		errs = append(errs, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(fd))
	}
	return errors.Join(errs...)
}

// What Prometheus stores is the sockets that the test has opened, and what a snapshot says of them.
func TestPrometheusStoresWhatIsThere(t *testing.T) {
	z := newCrowd(t)
	netns := strconv.Itoa(int(z.network.Inode()))
	e := startExporter(t, "--netns", netns)
	p := startPrometheus(t, e)
	// What the exporter has missed on a busy host is counted beside it.
	opens := func() float64 { return p.one(t, "connprof_opens_total") + p.one(t, "sum(connprof_losses_total)") }
	p.until(t, "it has scraped", func() bool { return p.one(t, "up") == 1 && p.one(t, "connprof_look_timestamp_seconds") > 0 })
	before, churned := opens(), 0
	p.until(t, "three looks while sockets come and go", func() bool {
		for range min(5, mostChurn-churned) {
			if err := z.network.Do(z.comeAndGo); err != nil {
				t.Fatal(err)
			}
			churned++
		}
		return p.one(t, "changes(connprof_look_timestamp_seconds[1h])") >= 2
	})
	// What stays is in each of the looks, whatever came and went meanwhile.
	const stays = crowdPairs + zooUnread
	if least := p.one(t, `min_over_time(connprof_connections{role="client", state="ESTABLISHED"}[1h])`); least < stays {
		t.Errorf("a look has %v clients, where %d never went", least, stays)
	}
	if err := z.network.Do(func() error { return z.open([]zooStep{{zooUnaccepted, z.unaccepted}}) }); err != nil {
		t.Fatal(err)
	}
	p.newLook(t)
	stored := p.stored(t, netns)
	for key, want := range map[string]float64{"sockets listener LISTEN": 1, "sockets client ESTABLISHED": stays + zooUnaccepted,
		"sockets server ESTABLISHED": stays + zooUnaccepted, "sockets client FIN_WAIT2": crowdCloseWait,
		"sockets server CLOSE_WAIT": crowdCloseWait, "unread": zooUnread * unreadEach, "waiting " + z.address.String(): zooUnaccepted,
		"backlog " + z.address.String(): 64} {
		if stored[key] != want {
			t.Errorf("%s: %v is stored, want %v", key, stored[key], want)
		}
	}
	m := snapshot(t, "--netns", netns, "--no-calibrate")
	if said := asStored(m, netns); !maps.Equal(stored, said) || len(said) < 15 {
		t.Errorf("stored is\n%v\na snapshot says\n%v", stored, said)
	}
	// Others on the host open connections as well.
	if risen := opens() - before; risen < 2*float64(churned) {
		t.Errorf("%v opens are stored, of %d connections", risen, churned)
	}
	n := p.one(t, "histogram_count(connprof_connection_lifetime_seconds)")
	if n+p.one(t, "sum(connprof_losses_total)") < 2*float64(churned) {
		t.Errorf("%v lifetimes are in the native histogram, of %d connections", n, churned)
	}
	t.Logf("%d connections came and went; %v", churned, stored)
	p.answersTheDashboard(t)
	p.evaluatesTheRules(t)
	if got := e.ends(t, syscall.SIGTERM); got.code != exitDone {
		t.Errorf("after SIGTERM: %v", got)
	}
}

// newLook waits for a look that has begun from now on: the second that ends.
func (p prometheus) newLook(t *testing.T) {
	t.Helper()
	for range 2 {
		last := max(p.one(t, "connprof_look_timestamp_seconds"), float64(time.Now().UnixMilli())/1000)
		p.until(t, "a new look", func() bool { return p.one(t, "connprof_look_timestamp_seconds") > last })
	}
}

// answersTheDashboard has each panel's query answered, with series where the host can have any.
func (p prometheus) answersTheDashboard(t *testing.T) {
	t.Helper()
	for _, expr := range dashboardQueries(t) {
		var data struct{ Result []json.RawMessage }
		p.ask(t, "/api/v1/query", url.Values{"query": {expr}}, &data)
		mayBeNone := strings.HasSuffix(expr, " > 0") || strings.Contains(expr, "connprof_tracked_entries")
		if len(data.Result) == 0 && !mayBeNone {
			t.Errorf("%s has no series", expr)
		}
	}
}

func (p prometheus) evaluatesTheRules(t *testing.T) {
	t.Helper()
	p.until(t, "each rule is evaluated", func() bool {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		p.ask(t, "/api/v1/rules", nil, &data)
		rules := 0
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.LastError != "" {
					t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if r.Health == "ok" {
					rules++
				}
			}
		}
		return rules >= 7
	})
}
