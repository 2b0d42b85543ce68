package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/connprof/connprof/internal/recording"
)

// CSV writes one row for each role, state and object type, in the recording's order; sizes are bytes.
func CSV(w io.Writer, r *recording.Recording) error {
	rows := [][]string{{"role", "state", "type", "cache", "count", "object_bytes", "page_bytes", "endpoints",
		"page_bytes_per_endpoint"}}
	for _, row := range r.Rows() {
		for _, o := range row.Objects {
			rows = append(rows, []string{row.Role.String(), row.State, o.Type, o.Cache, strconv.Itoa(o.Count),
				strconv.FormatUint(o.ObjectBytes, 10), strconv.FormatUint(o.PageBytes, 10), strconv.Itoa(row.Count),
				plainEach(o.PageBytes, row.Count)})
		}
	}
	return writeCSV(w, rows)
}

// plainEach is empty where there is no endpoint to divide by: 0 would be a claim.
func plainEach(total uint64, n int) string {
	if n <= 0 {
		return ""
	}
	return trimmed(total, uint64(n), 4)
}

func writeCSV(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}
