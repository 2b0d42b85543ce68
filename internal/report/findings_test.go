package report

import (
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

// row is a rule as the page has it.
func (r *Rule) row() string {
	return "| `" + r.Name + "` | " + r.Looks + " | " + r.From.String() + " |"
}

func TestThePageListsTheRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for i := range Rules {
		want = append(want, Rules[i].row())
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "| `") {
			got = append(got, line)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("docs/reference/findings.md is to have these rows:\n%s", strings.Join(want, "\n"))
	}
}

// one is a machine with a single group.
func one(change func(*recording.Group)) *recording.Machine {
	g := recording.Group{Owner: recording.OwnerProcess, Comm: "api", PID: 7, Role: kernel.RoleServer, State: "ESTABLISHED", Count: 1}
	change(&g)
	return &recording.Machine{Groups: []recording.Group{g}, Look: &recording.Look{}}
}

func looked(change func(*recording.Machine)) *recording.Machine {
	m := &recording.Machine{Look: &recording.Look{}, Books: &recording.Books{}}
	change(m)
	return m
}

func spread(p50 float64) *recording.Spread { return &recording.Spread{P50: p50, Max: 2 * p50} }

func TestARuleSpeaksFromItsLimitOn(t *testing.T) {
	closeWait := func(n int, idle *recording.Spread) *recording.Machine {
		return one(func(g *recording.Group) { g.State, g.Count, g.Idle = "CLOSE_WAIT", n, idle })
	}
	queue := func(n, backlog int) *recording.Machine {
		return looked(func(m *recording.Machine) {
			m.Look.Listeners = []recording.Listener{{Address: "[::]:80", Comm: "api", Queue: n, Backlog: backlog}}
		})
	}
	unread := func(n uint64) *recording.Machine {
		return one(func(g *recording.Group) { g.UnreadSockets, g.UnreadBytes = 1, n })
	}
	send := func(unacked int, n uint64, idle *recording.Spread) *recording.Machine {
		return one(func(g *recording.Group) { g.Count, g.UnackedSockets, g.UnackedBytes, g.Idle = 10, unacked, n, idle })
	}
	host := func(orphans, timeWaits int) *recording.Machine {
		return looked(func(m *recording.Machine) {
			m.Look.Orphans, m.Look.OrphansMax, m.Look.TimeWaits, m.Look.TimeWaitsMax = orphans, 1000, timeWaits, 1000
		})
	}
	tracked := func(n int) *recording.Machine {
		return looked(func(m *recording.Machine) { m.Look.Tracked, m.Look.TrackedMax = n, 1000 })
	}
	pages := func(n int64) *recording.Machine {
		return looked(func(m *recording.Machine) { m.Books.Pages = recording.PageBook{Kernel: n, LimitPressure: 1000} })
	}
	state := func(name string, n int, idle *recording.Spread) *recording.Machine {
		return one(func(g *recording.Group) { g.State, g.Count, g.Idle = name, n, idle })
	}
	lost := func(n int) *recording.Machine {
		return looked(func(m *recording.Machine) { m.Books.Sockets.Unreachable = n })
	}
	for _, c := range []struct {
		rule     string
		from     *recording.Machine
		sentence string
		below    []*recording.Machine
	}{
		{"close_wait", closeWait(10, spread(60)), "api has 10 sockets in CLOSE_WAIT, the longest idle for 2 min: 0 B",
			[]*recording.Machine{closeWait(9, spread(60)), closeWait(10, spread(59))}},
		{"close_wait", closeWait(10, nil), "api has 10 sockets in CLOSE_WAIT, the longest idle for an unknown time: 0 B", nil},
		{"accept_queue", queue(80, 99), "80 connections wait to be accepted at [::]:80 of api: 80.8 % of a backlog of 99",
			[]*recording.Machine{queue(79, 99), queue(1, 0)}},
		{"unread", unread(1 << 20), "api has not read 1.00 MiB that have arrived at 1 socket", []*recording.Machine{unread(1<<20 - 1)}},
		{"send_queue", send(6, 1<<20, spread(10)), "api has 1.00 MiB to send at 6 sockets, and the peers do not take it",
			[]*recording.Machine{send(5, 1<<20, spread(10)), send(6, 1<<20-1, spread(10)), send(6, 1<<20, spread(9.9)), send(6, 1<<20, nil)}},
		{"orphans", host(500, 0), "500 sockets are orphans: 50.0 % of the 1,000 that net.ipv4.tcp_max_orphans allows",
			[]*recording.Machine{host(499, 0)}},
		{"time_wait", host(0, 500), "500 sockets are in TIME_WAIT: 50.0 % of the 1,000 that net.ipv4.tcp_max_tw_buckets allows",
			[]*recording.Machine{host(0, 499)}},
		{"tcp_mem", pages(750), "TCP has 750 pages for queues: 75.0 % of the 1,000 at which net.ipv4.tcp_mem puts it under pressure",
			[]*recording.Machine{pages(749)}},
		{"conntrack", tracked(750), "connection tracking has 750 entries: 75.0 % of the 1,000 that net.netfilter.nf_conntrack_max allows",
			[]*recording.Machine{tracked(749)}},
		{"unconnected", state("CLOSE", 20, nil), "api has 20 sockets in CLOSE: 0 B", []*recording.Machine{state("CLOSE", 19, nil)}},
		{"unreachable", lost(10), "10 sockets are in nobody's reach: the kernel counts them, and no table and no process has them",
			[]*recording.Machine{lost(9), lost(-10)}},
		{"no_traffic", state("ESTABLISHED", 100, spread(3600)),
			"api has 100 sockets in ESTABLISHED that carry nothing, the longest for 2 h: 0 B",
			[]*recording.Machine{state("ESTABLISHED", 99, spread(3600)), state("ESTABLISHED", 100, spread(3599))}},
	} {
		got := findingsOf(c.from)
		if len(got) != 1 || got[0].Rule != c.rule || got[0].Sentence != c.sentence || strings.ContainsAny(got[0].Advice, "{}") {
			t.Errorf("%s: found %+v, want %q", c.rule, got, c.sentence)
		}
		for i, m := range c.below {
			if got := findingsOf(m); len(got) > 0 {
				t.Errorf("%s, %d below the limit: found %+v", c.rule, i, got)
			}
		}
	}
}

func TestEachRuleIsTried(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules {
		if seen[r.Name] || r.find == nil || r.Sentence == "" || r.Advice == "" {
			t.Errorf("rule %q is twice there, or not whole", r.Name)
		}
		seen[r.Name] = true
	}
}

func TestFindingsAreBounded(t *testing.T) {
	m := &recording.Machine{}
	for uid := range 40 {
		m.Groups = append(m.Groups, recording.Group{Owner: recording.OwnerProcess, Comm: "api", UID: uint32(uid), State: "CLOSE",
			Count: 20 + uid})
	}
	got := findingsOf(m)
	if len(got) != maxFindings+1 || got[maxFindings].Sentence != "the same of 35 others, with 1,295 sockets" {
		t.Errorf("%d findings, the last %+v", len(got), got[len(got)-1])
	}
	if !strings.HasPrefix(got[0].Sentence, "api has 59 sockets") {
		t.Errorf("the first is %q", got[0].Sentence)
	}
}

func TestABusyServerWithoutTroubleHasNoFindings(t *testing.T) {
	m := sample.Live().Machines[0]
	var names []string
	for _, f := range findingsOf(m) {
		names = append(names, f.Rule+" "+strings.Fields(f.Sentence)[0])
	}
	if got, want := strings.Join(names, ", "), "close_wait leaky, accept_queue 128, unread redis-server, send_queue apid"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// A name that looks like a figure's place in a sentence is not filled in again.
func TestAnOwnersNameIsNoTemplate(t *testing.T) {
	m := one(func(g *recording.Group) { g.Comm, g.State, g.Count = "{bytes}\x1b", "CLOSE", 20 })
	if got := findingsOf(m)[0].Sentence; got != "{bytes}? has 20 sockets in CLOSE: 0 B" {
		t.Errorf("the sentence is %q", got)
	}
}
