package export

import (
	"strconv"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/report"
)

// codeRows have the code paths of two records that differ, what grew most first.
func codeRows(d *report.CodeDiff) [][]string {
	rows := [][]string{{"comm", "role", "container", "path", "old_opened", "new_opened", "old_failed", "new_failed", "old_live", "new_live",
		"old_bytes", "new_bytes", "change_bytes"}}
	for i := range d.All {
		c := &d.All[i]
		role := ""
		if !c.NoRole {
			role = c.Role.String()
		}
		row := []string{format.Cell(c.Who), role, format.Cell(c.Where), format.Cell(c.Path)}
		for _, n := range []int{c.Was.Opened, c.Is.Opened, c.Was.Failed, c.Is.Failed, c.Was.Live, c.Is.Live} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, append(row, strconv.FormatUint(c.Was.Bytes, 10), strconv.FormatUint(c.Is.Bytes, 10), c.ByteChange()))
	}
	return rows
}
