package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

// CSV writes one row for each role, state and object type, of a look at a host one for each group, and of a record one for each
// opener. Sizes are bytes.
type CSV struct{}

// Write keeps the recording's order.
func (CSV) Write(w io.Writer, r *report.Report) error {
	if r.Record != nil { // with nobody in it, it has a head all the same
		return writeCSV(w, openerRows(r))
	}
	if r.Look != nil {
		return writeCSV(w, groupRows(r.Recording))
	}
	rows := [][]string{{"role", "state", "type", "cache", "count", "object_bytes", "page_bytes", "endpoints",
		"page_bytes_per_endpoint"}}
	for _, row := range r.Recording.Rows() {
		for _, o := range row.Objects {
			rows = append(rows, []string{row.Role.String(), format.Cell(row.State), format.Cell(o.Type), format.Cell(o.Cache),
				strconv.Itoa(o.Count), strconv.FormatUint(o.ObjectBytes, 10), strconv.FormatUint(o.PageBytes, 10), strconv.Itoa(row.Count),
				plainEach(o.PageBytes, row.Count)})
		}
	}
	return writeCSV(w, rows)
}

// WriteDiff has a row for what either recording has; sizes are page bytes an endpoint. change_percent is empty where the
// older recording has none. Of two looks at a host it has a row for each owner and each object that has changed, of two records
// for each code path.
func (CSV) WriteDiff(w io.Writer, d *report.Diff) error {
	if d.Code != nil {
		return writeCSV(w, codeRows(d.Code))
	}
	if d.Growth != nil {
		return writeCSV(w, growthRows(d.Growth))
	}
	rows := [][]string{{"role", "state", "type", "cache", "old_endpoints", "new_endpoints", "old_page_bytes_per_endpoint",
		"new_page_bytes_per_endpoint", "change_bytes_per_endpoint", "change_percent"}}
	for _, row := range d.Rows {
		for _, o := range row.Objects {
			change, percent := o.IsBytes-o.WasBytes, ""
			if o.WasBytes != 0 {
				percent = format.Plain(100 * change / o.WasBytes)
			}
			rows = append(rows, []string{row.Role.String(), format.Cell(row.State), format.Cell(o.Type), format.Cell(o.Cache),
				strconv.Itoa(row.Was), strconv.Itoa(row.Is), format.Plain(o.WasBytes), format.Plain(o.IsBytes), format.Plain(change), percent})
		}
	}
	return writeCSV(w, rows)
}

// plainEach is empty where there is no endpoint to divide by: 0 would be a claim.
func plainEach(total uint64, n int) string {
	if n <= 0 {
		return ""
	}
	return format.Trimmed(total, uint64(n), 4)
}

func writeCSV(w io.Writer, rows [][]string) error {
	out := csv.NewWriter(w)
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}
