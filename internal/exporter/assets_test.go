package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v2"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/report/sample"
)

const (
	dashboardFile = "../../contrib/grafana/connprof.json"
	rulesFile     = "../../contrib/prometheus/rules.yml"
)

// served are the metrics that an exporter can serve, by name: the labels of each, and whether it is a histogram.
type served map[string]struct {
	labels    []string
	histogram bool
}

// everything is all metrics of a host that has all that can be counted.
func everything(t *testing.T) served {
	t.Helper()
	m := sample.Live().Machines[0]
	m.Look.Tracked, m.Look.TrackedMax = 5, 100
	found := prometheus.NewRegistry()
	found.MustRegister(&Sight{Machine: m, Counts: &live.Counts{}, At: time.Now()})
	list, err := prometheus.Gatherers{(&Config{Version: "v"}).own(), found}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := served{}
	for _, f := range list {
		row := all[f.GetName()]
		row.histogram = f.GetType() == dto.MetricType_HISTOGRAM
		for _, l := range f.GetMetric()[0].GetLabel() {
			row.labels = append(row.labels, l.GetName())
		}
		all[f.GetName()] = row
	}
	return all
}

// ofTargets are the labels that Prometheus gives to all that it scrapes.
var ofTargets = []string{"instance", "job"}

// labels of a metric; false: there is none of that name.
func (s served) labels(metric string) ([]string, bool) {
	if row, is := s[metric]; is {
		return slices.Concat(row.labels, ofTargets), true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if row, is := s[strings.TrimSuffix(metric, suffix)]; is && row.histogram && strings.HasSuffix(metric, suffix) {
			return slices.Concat(row.labels, ofTargets, []string{"le"}), true
		}
	}
	return nil, false
}

// check tells what an expression names that the exporter does not serve.
func (s served) check(expr string) (problems error) {
	q, err := parse(expr)
	if err != nil {
		return err
	}
	var any []string
	for _, chosen := range q.selectors {
		labels, is := s.labels(chosen.metric)
		if !is {
			problems = errors.Join(problems, fmt.Errorf("%s: no metric %s", expr, chosen.metric))
		}
		any = append(any, labels...)
		for _, l := range chosen.labels {
			if is && !slices.Contains(labels, l) {
				problems = errors.Join(problems, fmt.Errorf("%s: %s has no label %s", expr, chosen.metric, l))
			}
		}
	}
	for _, l := range q.grouped {
		if !slices.Contains(any, l) {
			problems = errors.Join(problems, fmt.Errorf("%s: no metric in it has a label %s", expr, l))
		}
	}
	return problems
}

func TestAnExpressionOfWhatIsNotServedIsRefused(t *testing.T) {
	all := everything(t)
	for expr, refused := range map[string]string{
		`connprof_connections{state="ESTABLISHED"}`:                "",
		`connprof_conections`:                                      "no metric connprof_conections",
		`connprof_connections{status="ESTABLISHED"}`:               "no label status",
		`sum by (listener) (connprof_connections)`:                 "has a label listener",
		`rate(connprof_connection_lifetime_seconds_bucket[5m])`:    "",
		`connprof_connections_sum`:                                 "no metric connprof_connections_sum",
		`connprof_opens_total{error="ECONNREFUSED"}`:               "no label error",
		`process_cpu_seconds_total{instance="a"}`:                  "",
		`connprof_slab_bytes / on (job, unit) connprof_slab_bytes`: "has a label unit",
	} {
		err := all.check(expr)
		if (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: the error is %v, in place of %q", expr, err, refused)
		}
	}
}

// dashboard is what is checked of Grafana's format.
type dashboard struct {
	UID        string
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID          int
		Type, Title string
		GridPos     struct{ H, W, X, Y int }
		Datasource  struct{ UID string }
		Targets     []struct {
			RefID, Expr string
			Datasource  struct{ UID string }
		}
		FieldConfig struct{ Defaults struct{ Unit string } }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Each panel asks for what the exporter serves, and all that it serves of its own is in a panel.
func TestTheDashboardShowsWhatIsServed(t *testing.T) {
	all, shown, d := everything(t), "", readDashboard(t)
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("%s has no query or no unit", p.Title)
		}
		for _, q := range p.Targets {
			shown += q.Expr + "\n"
			if err := all.check(q.Expr); err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
			if !strings.Contains(q.Expr, `{instance=~"$instance"`) || q.Datasource.UID != "${datasource}" {
				t.Errorf("%s, %s: it is not of the instances and the data source that the reader has chosen", p.Title, q.Expr)
			}
		}
	}
	for metric := range all {
		if strings.HasPrefix(metric, "connprof_") && !strings.Contains(shown, metric) {
			t.Errorf("no panel shows %s", metric)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" && v.Definition != "label_values(connprof_build_info, instance)" {
			t.Errorf("the variable %s is %s", v.Name, v.Definition)
		}
	}
}

// Grafana moves panels that overlap, and shows one of two that have the same number.
func TestThePanelsOfTheDashboardLieBesideEachOther(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]string{}
	for _, p := range readDashboard(t).Panels {
		if other, known := ids[p.ID]; known {
			t.Errorf("%s and %s have the number %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		at := p.GridPos
		if at.X+at.W > 24 || at.W == 0 || at.H == 0 {
			t.Errorf("%s is at %+v", p.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, known := taken[[2]int{x, y}]; known {
					t.Fatalf("%s and %s overlap", other, p.Title)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] {
				t.Errorf("%s has two queries %s", p.Title, q.RefID)
			}
			refs[q.RefID] = true
		}
	}
	if len(ids) < 20 {
		t.Errorf("%d panels", len(ids))
	}
}

func TestTheRulesAreOfWhatIsServed(t *testing.T) {
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all, seen := everything(t), 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			seen++
			if err := all.check(r.Expr); err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s says nothing to who is woken up", r.Alert)
			}
		}
	}
	if seen < 6 {
		t.Errorf("%d rules", seen)
	}
}

const (
	parcaFile = "../../contrib/parca/parca.yaml"
	alloyFile = "../../contrib/alloy/config.alloy"
)

// asked is what a collector of profiles asks for, by the profile's name: a path, "" where it is switched off.
type asked struct {
	paths             map[string]string
	interval, timeout time.Duration
	delta             bool // that of connections: it says for how many seconds
}

func parcaAsks(t *testing.T) asked {
	t.Helper()
	text, err := os.ReadFile(parcaFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Scrapes []struct {
			Interval  time.Duration `yaml:"scrape_interval"`
			Timeout   time.Duration `yaml:"scrape_timeout"`
			Profiling struct {
				Pprof map[string]struct {
					Enabled, Delta bool
					Path           string
				} `yaml:"pprof_config"`
			} `yaml:"profiling_config"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Scrapes) != 1 {
		t.Fatalf("%s: %v: %+v", parcaFile, err, file)
	}
	s := file.Scrapes[0]
	a := asked{map[string]string{}, s.Interval, s.Timeout, s.Profiling.Pprof["connections"].Delta}
	for name, p := range s.Profiling.Pprof {
		if a.paths[name] = p.Path; p.Enabled != (p.Path != "") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	return a
}

var (
	alloyProfile = regexp.MustCompile(`(?s)profile\.(?:custom "(\w+)"|(\w+)) \{(.*?)\}`)
	alloyPath    = regexp.MustCompile(`(?s)enabled = true.*path += "(.*?)"`)
	alloyScrape  = regexp.MustCompile(`(?s)pyroscope\.scrape .*?scrape_interval += "(\w+)".*?scrape_timeout += "(\w+)"`)
)

func alloyAsks(t *testing.T) asked {
	t.Helper()
	text, err := os.ReadFile(alloyFile)
	if err != nil {
		t.Fatal(err)
	}
	times := alloyScrape.FindSubmatch(text)
	if times == nil {
		t.Fatalf("%s says no interval", alloyFile)
	}
	a := asked{paths: map[string]string{}}
	var errs [2]error
	a.interval, errs[0] = time.ParseDuration(string(times[1]))
	a.timeout, errs[1] = time.ParseDuration(string(times[2]))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for _, p := range alloyProfile.FindAllSubmatch(text, -1) {
		name := string(p[1]) + string(p[2])
		a.paths[name] = ""
		if path := alloyPath.FindSubmatch(p[3]); path != nil {
			a.paths[name] = string(path[1])
		}
		a.delta = a.delta || name == "connections" && strings.Contains(string(p[3]), "delta   = true")
	}
	return a
}

// Parca and Alloy ask Go programs for five profiles unless they are told not to; and give up after their own time.
func TestCollectorsOfProfilesAskForWhatIsServed(t *testing.T) {
	c := Config{Profile: func(context.Context, time.Duration, io.Writer) error { return nil }}
	for collector, a := range map[string]asked{"Parca": parcaAsks(t), "Alloy": alloyAsks(t)} {
		for _, name := range []string{"memory", "block", "goroutine", "mutex", "process_cpu"} {
			if path, said := a.paths[name]; !said || path != "" {
				t.Errorf("%s asks for a profile %s", collector, name)
			}
		}
		path := a.paths["connections"]
		if code, body := get(t, c, path+fmt.Sprintf("?seconds=%.0f", a.interval.Seconds())); path == "" || code != http.StatusOK {
			t.Errorf("%s asks for %q: %d %s", collector, path, code, body)
		}
		if !a.delta || a.timeout <= a.interval+scrapeTimeout {
			t.Errorf("%s: %+v", collector, a)
		}
	}
}
