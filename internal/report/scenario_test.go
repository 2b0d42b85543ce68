package report_test

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

// halfClosed is a run of which one FIN did not arrive.
func halfClosed() *recording.Recording {
	r := sample.New()
	m := r.Machines[0]
	m.Load.Scenario, m.Load.ClientState, m.Load.ServerState = "half-closed", "FIN_WAIT2", "CLOSE_WAIT"
	m.Load.Requested, m.Load.Established, m.Load.Timeline = 20, 19, nil
	m.Endpoints = []recording.EndpointRow{
		{Role: kernel.RoleClient, State: "FIN_WAIT2", Count: 19, PageBytes: 19 * 4100},
		{Role: kernel.RoleClient, State: "FIN_WAIT1", Count: 1, PageBytes: 4300},
		{Role: kernel.RoleServer, State: "CLOSE_WAIT", Count: 19, PageBytes: 19 * 5210},
		{Role: kernel.RoleServer, State: "ESTABLISHED", Count: 1, PageBytes: 4113},
	}
	return r
}

func TestTheHeadlineIsOfTheScenariosState(t *testing.T) {
	r := halfClosed()
	a := report.New(r).Answer
	if a.Exact != "9,310.0 B" || a.Sum != "4.00 KiB FIN_WAIT2 client + 5.09 KiB CLOSE_WAIT server" {
		t.Errorf("%+v", a)
	}
	sample.Has(t, textOf(t, r), "19 of 20 established", "Server endpoints ESTABLISHED · 1", "Server endpoints CLOSE_WAIT · 19")
	// With what the scenario leaves no end of, no connection is made.
	r.Machines[0].Load.ServerState = ""
	if a := report.New(r).Answer; a.Exact != "" || a.Sentence != "One client endpoint costs 4.00 KiB of slab pages" {
		t.Errorf("%+v", a)
	}
}

func TestWithoutAProfileNothingIsSaidToBeZero(t *testing.T) {
	r := sample.NoProfile()
	if a := report.New(r).Answer; a.Sentence != "What a connection costs was not measured" {
		t.Errorf("%+v", a)
	}
}
