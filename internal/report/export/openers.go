package export

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

var openerHeads = []string{"kind", "pid", "pids", "comm", "container", "role", "netns", "listener", "function", "file", "line", "opened", "closed",
	"failed", "live", "live_object_bytes", "live_page_bytes", "live_buffer_bytes", "live_rx_bytes", "live_tx_bytes", "lifetime_seconds_p50",
	"lifetime_seconds_p90", "lifetime_seconds_p99", "idle_seconds_p50", "idle_seconds_max", "states", "peers", "errors", "tenths", "stack", "why",
	"frames"}

// openerRows have the openers in the recording's order. function, file and line are of the frame that matters; frames are root first.
func openerRows(r *report.Report) [][]string {
	rows := [][]string{openerHeads}
	for _, o := range r.Record.Everyone() {
		rows = append(rows, openerRow(o))
	}
	return rows
}

func openerRow(r *report.OpenerRow) []string {
	o := r.Opener()
	row := []string{string(o.Kind), strconv.Itoa(o.PID), strings.Join(numbers(o.PIDs), " "), o.Comm, o.Container, o.Role.String(), fmt.Sprint(o.Netns), o.Listener}
	function, file, line := "", "", ""
	if len(r.Code) > 0 {
		if function, file = r.Code[0].Name, r.Code[0].File; r.Code[0].Line > 0 {
			line = strconv.Itoa(r.Code[0].Line)
		}
	}
	row = append(row, function, file, line)
	for _, n := range []int{o.Opened, o.Closed, o.Failed, o.Live} {
		row = append(row, strconv.Itoa(n))
	}
	for _, n := range []uint64{o.LiveObjectBytes, o.LivePageBytes, o.LiveBufferBytes, o.LiveRxBytes, o.LiveTxBytes} {
		row = append(row, strconv.FormatUint(n, 10))
	}
	row = append(row, percentiles(o.Lifetime)...)
	if o.Idle != nil {
		row = append(row, format.Plain(o.Idle.P50), format.Plain(o.Idle.Max))
	} else {
		row = append(row, "", "")
	}
	names := make([]string, len(r.Frames))
	for i := range r.Frames {
		names[i] = strings.ReplaceAll(r.Frames[i].Name, ";", "_")
	}
	row = append(row, states(o), peers(o), errorList(o), tenthsOf(o), string(o.Stack), o.Why, strings.Join(names, ";"))
	for i := range row {
		if i < 11 || i > 24 { // names; a number may begin with a minus
			row[i] = format.Cell(format.Clean(row[i]))
		}
	}
	return row
}

func percentiles(p *recording.Percentiles) []string {
	if p == nil {
		return []string{"", "", ""}
	}
	return []string{format.Plain(p.P50), format.Plain(p.P90), format.Plain(p.P99)}
}

// counted lists names with their counts.
func counted[T any](list []T, of func(T) (string, int)) string {
	parts := make([]string, len(list))
	for i, x := range list {
		name, n := of(x)
		parts[i] = name + " " + strconv.Itoa(n)
	}
	return strings.Join(parts, "; ")
}

func states(o *recording.Opener) string {
	return counted(o.States, func(s recording.StateCount) (string, int) { return s.State, s.Count })
}

func peers(o *recording.Opener) string {
	return counted(o.Peers, func(p recording.PeerCount) (string, int) { return p.Peer, p.Count })
}

func errorList(o *recording.Opener) string {
	return counted(o.Errors, func(e recording.OpenerError) (string, int) { return e.Error, e.Count })
}

func tenthsOf(o *recording.Opener) string { return strings.Join(numbers(o.Tenths), " ") }

func numbers(list []int) []string {
	parts := make([]string, len(list))
	for i, n := range list {
		parts[i] = strconv.Itoa(n)
	}
	return parts
}
