package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
)

// host is a source of made-up looks.
type host struct {
	mu     sync.Mutex
	looks  int
	going  int
	groups []recording.Group
	pause  time.Duration
	asked  time.Duration // the interval of the last Pause
	err    error
	// held has a look wait until it is closed; nil: it does not.
	held chan struct{}
}

func (h *host) Look() (*recording.Machine, error) {
	h.mu.Lock()
	h.looks++
	h.going++
	held, err := h.held, h.err
	if h.going > 1 {
		err = errors.New("two looks at a time")
	}
	groups := h.groups
	h.mu.Unlock()
	if held != nil {
		<-held
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.going--
	if err != nil {
		return nil, err
	}
	return &recording.Machine{Groups: groups, Books: &recording.Books{}, Look: &recording.Look{Tracked: 7, TrackedMax: 100}}, nil
}

func (h *host) Pause(interval time.Duration) time.Duration {
	h.asked = interval
	return h.pause
}

func (h *host) Counts() (*live.Counts, error) {
	c := &live.Counts{Opened: 12, Closed: 5, Failed: 2, Lost: 1}
	c.Errors[4] = 2
	return c, nil
}

func TestScrapesAtTheSameTimeShareOneLook(t *testing.T) {
	h := &host{pause: time.Hour, held: make(chan struct{})}
	looks := NewLooks(h, time.Second)
	var all sync.WaitGroup
	sights := make(chan *Sight, 20)
	for range cap(sights) {
		all.Go(func() {
			s, err := looks.Get(t.Context())
			if err != nil {
				t.Error(err)
			}
			sights <- s
		})
	}
	close(h.held)
	all.Wait()
	first := <-sights
	for range cap(sights) - 1 {
		if s := <-sights; s != first {
			t.Error("two scrapes have two looks")
		}
	}
	if h.looks != 1 {
		t.Errorf("%d looks, want 1", h.looks)
	}
}

func TestALookServesUntilThePauseIsOver(t *testing.T) {
	h := &host{pause: time.Hour}
	looks := NewLooks(h, time.Second)
	for range 3 {
		if _, err := looks.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if h.looks != 1 {
		t.Errorf("%d looks within the pause, want 1", h.looks)
	}
	// Else the next scrape, an interval later, would get the same look as often as it comes a moment too soon.
	if h.asked >= time.Second || h.asked < time.Second/2 {
		t.Errorf("one look in %v is asked for, where scrapes come every second", h.asked)
	}
	looks.until = time.Now()
	if _, err := looks.Get(t.Context()); err != nil || h.looks != 2 {
		t.Errorf("%d looks after the pause, want 2: %v", h.looks, err)
	}
}

// Whoever waits for a look that hangs gives up, no second one begins beside it, and the first serves when it ends after all.
func TestALookThatHangsFailsTheScrapeAlone(t *testing.T) {
	h := &host{pause: time.Hour, held: make(chan struct{})}
	looks := NewLooks(h, time.Second)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := looks.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not ended") {
			t.Errorf("the error is %v", err)
		}
		cancel()
	}
	close(h.held)
	if s, err := looks.Get(t.Context()); err != nil || s == nil || h.looks != 1 {
		t.Errorf("after it: %v, %d looks", err, h.looks)
	}
}

func get(t *testing.T, c Config, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	c.Log = slog.New(slog.DiscardHandler)
	Handler(c).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestAFailedLookIsAFailedScrapeWithTheReason(t *testing.T) {
	h := &host{err: errors.New("no walk today")}
	looks := NewLooks(h, time.Second)
	if code, body := get(t, Config{Looks: looks}, "/metrics"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no walk today") {
		t.Errorf("%d: %s", code, body)
	}
	h.err = nil
	if code, _ := get(t, Config{Looks: looks}, "/metrics"); code != http.StatusOK {
		t.Errorf("%d once it works again", code)
	}
	if code, body := get(t, Config{}, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if code, _ := get(t, Config{}, "/other"); code != http.StatusNotFound {
		t.Errorf("a page that is not there: %d", code)
	}
}

func TestTheMetricsAreTheLooks(t *testing.T) {
	h := &host{groups: []recording.Group{
		{Unit: "nginx.service", Role: kernel.RoleServer, State: "ESTABLISHED", PID: 11, Count: 3, PageBytes: 300, RxBytes: 5, UnreadBytes: 4},
		{Unit: "nginx.service", Role: kernel.RoleServer, State: "ESTABLISHED", PID: 12, Count: 2, PageBytes: 200, TxBytes: 9},
		{Container: "abc", Pod: "p", Role: kernel.RoleClient, State: "CLOSE_WAIT", Count: 1, PageBytes: 50}}}
	s, err := NewLooks(h, time.Second).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `
# HELP connprof_connection_page_bytes Slab memory that TCP sockets hold, padding and waste of its pages included.
# TYPE connprof_connection_page_bytes gauge
connprof_connection_page_bytes{container="",pod="",role="server",unit="nginx.service"} 500
connprof_connection_page_bytes{container="abc",pod="p",role="client",unit=""} 50
# HELP connprof_connections TCP sockets by state, in all network namespaces.
# TYPE connprof_connections gauge
connprof_connections{container="",pod="",role="server",state="ESTABLISHED",unit="nginx.service"} 5
connprof_connections{container="abc",pod="p",role="client",state="CLOSE_WAIT",unit=""} 1
# HELP connprof_connection_unread_bytes Data that has arrived and that the owner has not read.
# TYPE connprof_connection_unread_bytes gauge
connprof_connection_unread_bytes{container="",pod="",unit="nginx.service"} 4
connprof_connection_unread_bytes{container="abc",pod="p",unit=""} 0
# HELP connprof_opens_total Ends of connections opened by connect() or accepted since the exporter has started.
# TYPE connprof_opens_total counter
connprof_opens_total 12
# HELP connprof_tracked_entries Connection tracking's entries in the exporter's network namespace.
# TYPE connprof_tracked_entries gauge
connprof_tracked_entries 7
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want), "connprof_connection_page_bytes", "connprof_connections",
		"connprof_connection_unread_bytes", "connprof_opens_total", "connprof_tracked_entries"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(s) // as promtool check metrics does
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	var refused float64
	for _, m := range gather(t, s, "connprof_connect_failures_total") {
		refused += m.GetCounter().GetValue()
	}
	if refused != 2 {
		t.Errorf("%v failures in all, want 2", refused)
	}
}

// A thousand owners are 200 and one more, whose sums are those of all.
func TestOwnersBeyondTheBoundAreOne(t *testing.T) {
	h := &host{}
	const all = 1000
	for i := range all {
		h.groups = append(h.groups, recording.Group{Unit: fmt.Sprintf("u%d.service", i), State: "ESTABLISHED", Count: 1, PageBytes: uint64(i)})
	}
	s, err := NewLooks(h, time.Second).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := gather(t, s, "connprof_connections")
	sum, others := 0.0, 0.0
	for _, m := range rows {
		sum += m.GetGauge().GetValue()
		for _, l := range m.GetLabel() {
			if l.GetName() == "unit" && l.GetValue() == Other {
				others += m.GetGauge().GetValue()
			}
			if l.GetName() == "unit" && l.GetValue() == "u0.service" {
				t.Error("who holds least has a series of its own")
			}
		}
	}
	if len(rows) != MostOwners+1 || sum != all || others != all-MostOwners {
		t.Errorf("%d series of %v sockets, %v of them of others; want %d, %d and %d", len(rows), sum, others, MostOwners+1, all, all-MostOwners)
	}
}

func TestAProfileIsTakenOneAtATime(t *testing.T) {
	begun, end := make(chan time.Duration), make(chan struct{})
	c := Config{Profile: func(_ context.Context, d time.Duration, w io.Writer) error {
		begun <- d
		<-end
		_, err := io.WriteString(w, "a profile")
		return err
	}, Log: slog.New(slog.DiscardHandler)}
	handler := Handler(c)
	ask := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/debug/pprof/connections"+query, nil))
		return w
	}
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- ask("?seconds=30") }()
	if d := <-begun; d != 30*time.Second {
		t.Errorf("a profile of %v, want 30 s", d)
	}
	if w := ask(""); w.Code != http.StatusTooManyRequests {
		t.Errorf("a second one meanwhile: %d", w.Code)
	}
	for _, seconds := range []string{"0", "-1", "301", "x", "1.5"} {
		if w := ask("?seconds=" + seconds); w.Code != http.StatusBadRequest {
			t.Errorf("seconds=%s: %d", seconds, w.Code)
		}
	}
	close(end)
	if w := <-first; w.Code != http.StatusOK || w.Body.String() != "a profile" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestAProfileThatFailsSaysWhy(t *testing.T) {
	c := Config{Profile: func(context.Context, time.Duration, io.Writer) error { return errors.New("no hooks here") }}
	if code, body := get(t, c, "/debug/pprof/connections"); code != http.StatusInternalServerError || !strings.Contains(body, "no hooks here") {
		t.Errorf("%d: %s", code, body)
	}
}

func TestALabelThatIsNoTextFailsTheScrapeAlone(t *testing.T) {
	h := &host{groups: []recording.Group{{Unit: "a\xff", State: "ESTABLISHED", Count: 1}}}
	if code, body := get(t, Config{Looks: NewLooks(h, time.Second)}, "/metrics"); code != http.StatusInternalServerError {
		t.Errorf("%d: %.200s", code, body)
	}
}
