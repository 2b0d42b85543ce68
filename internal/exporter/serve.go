package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// scrapeTimeout is how long a scrape waits for a look. Prometheus gives up after 10 s where nothing else is said.
	scrapeTimeout = 9 * time.Second
	// mostScrapes is how many scrapes are answered at a time.
	mostScrapes = 16
	// DefaultProfile is how long a profile takes where no seconds are asked for.
	DefaultProfile = 10 * time.Second
	// MostProfile is how long one may take.
	MostProfile = 5 * time.Minute
)

// Config is what is served.
type Config struct {
	Looks   *Looks
	Version string
	// Profile watches what is opened for a while, and writes who opened what is still open, as a pprof profile.
	Profile func(ctx context.Context, d time.Duration, w io.Writer) error
	Log     *slog.Logger
}

// Handler serves /metrics, /debug/pprof/connections, /healthz and a page that names them.
func Handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", c.metrics())
	mux.Handle("GET /debug/pprof/connections", c.profiles())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><meta charset="utf-8"><title>connprof</title><h1>connprof</h1>`+
			`<p><a href="/metrics">/metrics</a> for Prometheus</p>`+
			`<p><a href="/debug/pprof/connections?seconds=10">/debug/pprof/connections?seconds=10</a> for collectors of profiles</p>`)
	})
	return mux
}

// own is the exporter's own metrics.
func (c *Config) own() *prometheus.Registry {
	own := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "connprof_build_info", Help: "The exporter's version.",
		ConstLabels: prometheus.Labels{"version": c.Version}})
	build.Set(1)
	own.MustRegister(build, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	return own
}

// metrics answers a scrape with what one look has found.
func (c *Config) metrics() http.Handler {
	own := c.own()
	slots := make(chan struct{}, mostScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are being answered: try again", mostScrapes), http.StatusServiceUnavailable)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout)
		defer cancel()
		sight, err := c.Looks.Get(ctx)
		if err != nil {
			c.Log.Error("scrape", "error", err)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		found := prometheus.NewRegistry()
		found.MustRegister(sight)
		promhttp.HandlerFor(prometheus.Gatherers{own, found}, promhttp.HandlerOpts{EnableOpenMetrics: true,
			ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelError)}).ServeHTTP(w, r)
	})
}

// profiles takes one profile at a time.
func (c *Config) profiles() http.Handler {
	slot := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := profileTime(r.FormValue("seconds"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
		default:
			http.Error(w, "another profile is being taken: try again later", http.StatusTooManyRequests)
			return
		}
		out := &started{ResponseWriter: w}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", `attachment; filename="connections.pb.gz"`)
		err = c.Profile(r.Context(), d, out)
		if err == nil || errors.Is(err, context.Canceled) {
			return
		}
		c.Log.Error("profile", "error", err)
		if !out.yes {
			w.Header().Del("Content-Disposition")
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// started knows whether an answer has begun, after which it can be no error any more.
type started struct {
	http.ResponseWriter
	yes bool
}

func (s *started) Write(b []byte) (int, error) {
	s.yes = true
	return s.ResponseWriter.Write(b)
}

func profileTime(seconds string) (time.Duration, error) {
	if seconds == "" {
		return DefaultProfile, nil
	}
	n, err := strconv.Atoi(seconds)
	if err != nil || n < 1 || n > int(MostProfile.Seconds()) {
		return 0, fmt.Errorf("seconds=%.20q: want a whole number from 1 to %.0f", seconds, MostProfile.Seconds())
	}
	return time.Duration(n) * time.Second, nil
}
