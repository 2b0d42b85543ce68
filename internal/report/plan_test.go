package report

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

func TestTextShowsWhatTheConnectionsNeed(t *testing.T) {
	r := sample()
	if text := textOf(t, r, TextOptions{}); strings.Contains(text, "connections need") {
		t.Error("a plan without any")
	}
	near(r).Trace.BatchConnections = 5000
	near(r).Plan = []recording.PlanRow{
		{Limit: "memory", Where: "MemAvailable", Unit: "bytes", Need: 160 << 20, Have: 20 << 30, Verdict: "ok"},
		{Limit: "orphans", Where: "net.ipv4.tcp_max_orphans", Need: 20_910, Have: 8_192, Verdict: "warns"}}
	wantLines(t, textOf(t, r, TextOptions{}), "What 20,000 connections need by the cost of the first 5,000",
		"memory MemAvailable 160.0 MiB 20.0 GiB ok", "orphans net.ipv4.tcp_max_orphans 20,910 8,192 warns")
}
