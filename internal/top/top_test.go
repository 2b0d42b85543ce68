package top

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

func machine() *recording.Machine { return sample.Live().Machines[0] }

// owner finds one by the beginning of its name.
func owner(t *testing.T, tick *Tick, name string) *Owner {
	t.Helper()
	for i := range tick.Owners {
		if strings.HasPrefix(tick.Owners[i].Name(), name) {
			return &tick.Owners[i]
		}
	}
	t.Fatalf("no %s among %+v", name, tick.Owners)
	return nil
}

func ticked(t *testing.T, k *Ticker, m *recording.Machine, c *live.Counts) *Tick {
	t.Helper()
	tick, err := k.Tick(m, c)
	if err != nil {
		t.Fatal(err)
	}
	return tick
}

func TestATickTellsWhatHasChangedSinceTheFirst(t *testing.T) {
	k := NewTicker([]string{"process"}, "bytes")
	first := ticked(t, k, machine(), nil)
	later := ticked(t, k, sample.Later().Machines[0], nil)
	if o := owner(t, first, "leaky"); o.Change != 0 || o.Grows || o.Sockets != 1800 {
		t.Errorf("%+v", o)
	}
	if o := owner(t, later, "leaky"); o.Change != 900 || !o.Grows || o.Sockets != 2700 {
		t.Errorf("%+v", o)
	}
	if o := owner(t, later, "nginx"); o.Change != 0 || o.Grows {
		t.Errorf("%+v", o)
	}
	if later.Queued != 131 || later.Full != 0 || later.Sockets != first.Sockets+900-37 {
		t.Errorf("%d queued, %d full, %d and %d sockets", later.Queued, later.Full, first.Sockets, later.Sockets)
	}
	full := machine()
	full.Look.Listeners[0].Queue++
	if tick := ticked(t, k, full, nil); tick.Full != 1 || owner(t, tick, "leaky").Grows {
		t.Errorf("%d full, leaky %+v", tick.Full, owner(t, tick, "leaky"))
	}
	k.Restart()
	if o := owner(t, ticked(t, k, sample.Later().Machines[0], nil), "leaky"); o.Change != 0 {
		t.Errorf("begun anew: %+v", o)
	}
}

func TestRatesAreThoseOfTheOwnersProcesses(t *testing.T) {
	k := NewTicker([]string{"process"}, "opens")
	counts := func(at time.Duration, nginx, leaky uint64) *live.Counts {
		return &live.Counts{Elapsed: at, Opened: 10 * (nginx + leaky), Closed: nginx, Lost: 1, Processes: map[int]live.ProcessCount{
			1812: {Opened: nginx, Closed: nginx}, 1813: {Opened: 2 * nginx}, 7301: {Opened: leaky}}}
	}
	if tick := ticked(t, k, machine(), counts(time.Second, 100, 7)); tick.Opens != nil || owner(t, tick, "nginx").Opens != nil || tick.Losses != 1 {
		t.Errorf("%+v", tick)
	}
	tick := ticked(t, k, machine(), counts(3*time.Second, 140, 9))
	rates := func(o *Owner) string { return fmt.Sprint(*o.Opens, *o.Closes) }
	if got := rates(owner(t, tick, "nginx")); got != "60 20" {
		t.Errorf("nginx opens and closes %s a second", got)
	}
	if got := rates(owner(t, tick, "leaky")); got != "1 0" {
		t.Errorf("leaky opens and closes %s a second", got)
	}
	if *tick.Opens != 210 || *tick.Closes != 20 || tick.Seconds != 2 || tick.Owners[0].Name() != "nginx x5" {
		t.Errorf("%v %v in %v s, first %s", *tick.Opens, *tick.Closes, tick.Seconds, tick.Owners[0].Name())
	}
	if o := owner(t, tick, "TIME_WAIT"); o.Opens != nil {
		t.Errorf("no process has %+v", o)
	}
	if tick := ticked(t, k, machine(), counts(time.Second, 5, 1)); tick.Opens != nil {
		t.Error("what is counted anew has a rate against what was counted before")
	}
	k.Divide([]string{"state"})
	ticked(t, k, machine(), counts(2*time.Second, 6, 1))
	if tick := ticked(t, k, machine(), counts(3*time.Second, 7, 1)); tick.Opens == nil || tick.Owners[0].Opens != nil {
		t.Errorf("%+v", tick)
	}
}

func TestEachOrderSorts(t *testing.T) {
	for _, name := range Orders() {
		k := NewTicker([]string{"process"}, name)
		ticked(t, k, machine(), &live.Counts{})
		tick := ticked(t, k, sample.Later().Machines[0], &live.Counts{Elapsed: 1, Processes: map[int]live.ProcessCount{1502: {Opened: 9, Closed: 5}}})
		want := map[string]string{"bytes": "apid", "sockets": "nginx", "slab": "nginx", "buffers": "apid", "unread": "accept queue",
			"idle": "leaky", "change": "leaky", "each": "apid", "opens": "haproxy", "closes": "haproxy"}[name]
		if got := tick.Owners[0].Name(); !strings.HasPrefix(got, want) || want == "" {
			t.Errorf("sorted by %s, the first is %s, want %s", name, got, want)
		}
	}
}

func TestALineHasWhatScriptsRead(t *testing.T) {
	line, err := ticked(t, NewTicker([]string{"container"}, "sockets"), machine(), nil).Line()
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil || got["schema"] != Schema || got["Machine"] != nil {
		t.Errorf("%v: %s", err, line)
	}
	if err != nil || line[len(line)-1] != '\n' || strings.Count(string(line), "\n") != 1 {
		t.Errorf("%v: %q", err, line)
	}
}
