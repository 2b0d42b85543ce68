package export

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

var groupHeads = []string{"netns", "cgroup", "unit", "container", "pod", "pid", "pids", "comm", "uid", "owner", "role", "state",
	"listener", "service", "peer", "count", "object_bytes", "page_bytes", "buffer_bytes", "rx_bytes", "tx_bytes", "page_cache_bytes",
	"unread_sockets", "unread_bytes", "unacked_sockets", "unacked_bytes", "idle_seconds_p50", "idle_seconds_max"}

// groupRows have the groups in the recording's order, costliest first.
func groupRows(r *recording.Recording) [][]string {
	rows := [][]string{groupHeads}
	for _, m := range r.Machines {
		for i := range m.Groups {
			rows = append(rows, groupRow(&m.Groups[i]))
		}
	}
	return rows
}

func groupRow(g *recording.Group) []string {
	row := []string{fmt.Sprint(g.Netns), format.Clean(g.Cgroup), format.Clean(g.Unit), format.Clean(g.Container), format.Clean(g.Pod),
		strconv.Itoa(g.PID), strings.Join(numbers(g.PIDs), " "), format.Clean(g.Comm), fmt.Sprint(g.UID), format.Clean(string(g.Owner)),
		g.Role.String(), format.Clean(g.State), format.Clean(g.Listener), format.Clean(g.Service), format.Clean(g.Peer),
		strconv.Itoa(g.Count)}
	for _, n := range []uint64{g.ObjectBytes, g.PageBytes, g.BufferBytes, g.RxBytes, g.TxBytes, g.PageCacheBytes,
		uint64(max(g.UnreadSockets, 0)), g.UnreadBytes, uint64(max(g.UnackedSockets, 0)), g.UnackedBytes} {
		row = append(row, strconv.FormatUint(n, 10))
	}
	if g.Idle == nil {
		return append(row, "", "")
	}
	return append(row, format.Plain(g.Idle.P50), format.Plain(g.Idle.Max))
}

// growthRows have what grew most first, the owners and then the objects.
func growthRows(g *report.Growth) [][]string {
	rows := [][]string{{"of", "name", "where", "old_count", "new_count", "old_bytes", "new_bytes", "change_bytes"}}
	add := func(of string, list []report.GrowthRow) {
		for i := range list {
			r := &list[i]
			rows = append(rows, []string{of, r.Name, r.Where, strconv.Itoa(r.WasCount), strconv.Itoa(r.IsCount),
				strconv.FormatUint(r.Was, 10), strconv.FormatUint(r.Is, 10), r.ByteChange()})
		}
	}
	add("owner", g.All)
	add("object", g.Objects)
	return rows
}
