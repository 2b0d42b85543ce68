package exporter

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gathered are the metrics of one look.
func gathered(t *testing.T, s *Sight) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	list, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// families are the names of the metrics of one look.
func families(t *testing.T, s *Sight) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, f := range gathered(t, s) {
		names[f.GetName()] = true
	}
	return names
}

// gather is the series of one metric.
func gather(t *testing.T, s *Sight, name string) []*dto.Metric {
	t.Helper()
	for _, f := range gathered(t, s) {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}
