package report

import (
	"io"
	"strconv"

	"github.com/connprof/connprof/internal/recording"
)

// DiffCSV writes one row for each role, state and object type that either recording has; sizes are page bytes an
// endpoint. change_percent is empty where the older recording has none.
func DiffCSV(w io.Writer, older, newer *recording.Recording) error {
	rows := [][]string{{"role", "state", "type", "cache", "old_endpoints", "new_endpoints", "old_page_bytes_per_endpoint",
		"new_page_bytes_per_endpoint", "change_bytes_per_endpoint", "change_percent"}}
	for _, row := range compareRows(older, newer) {
		for _, o := range row.objects {
			percent := ""
			if o.was != 0 {
				percent = plain(100 * o.change() / o.was)
			}
			rows = append(rows, []string{row.role.String(), row.state, o.objectType, o.cache, strconv.Itoa(rowCount(row.was)),
				strconv.Itoa(rowCount(row.is)), plain(o.was), plain(o.is), plain(o.change()), percent})
		}
	}
	return writeCSV(w, rows)
}
