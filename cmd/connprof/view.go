package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// viewFlags is how a look is shown.
type viewFlags struct {
	by   []string
	rows int
	sort string
}

// viewNames are the flags.
var viewNames = []string{"by", "sort", "rows"}

// add gives a command the flags.
func (f *viewFlags) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.by, "by", nil, "group by `KEY` or two, such as container,state: "+strings.Join(report.OwnerKeys(), ", "))
	flags.IntVarP(&f.rows, "rows", "n", report.DefaultRows, "owners to list")
	flags.StringVar(&f.sort, "sort", "", "order of the owners: "+strings.Join(report.OwnerOrders(), ", "))
}

// options are the report's, once they are known to be good.
func (f *viewFlags) options() (report.Options, error) {
	if f.rows < 1 {
		return report.Options{}, fmt.Errorf("--rows %d: want at least 1", f.rows)
	}
	o := report.Options{By: f.by, Sort: f.sort, Rows: f.rows}
	return o, o.Check()
}

// read reads the recordings that are to be shown so.
func (f *viewFlags) read(cmd *cobra.Command, files []string) ([]*recording.Recording, error) {
	var list []*recording.Recording
	for _, file := range files {
		rec, err := recording.ReadFile(file)
		if err != nil {
			return nil, err
		}
		list = append(list, rec)
	}
	by := report.Options{By: f.by}.Keys(list[len(list)-1])
	for i, rec := range list {
		for _, name := range viewNames {
			if cmd.Flags().Changed(name) && !report.HasOwners(rec) {
				return nil, usageError{fmt.Errorf("%s: --%s is for snapshots and records, and %s is neither; leave it out", cmd.Name(), name, files[i])}
			}
		}
		if err := report.Divides(rec, by); err != nil {
			return nil, usageError{fmt.Errorf("%s: %s: %w", cmd.Name(), files[i], err)}
		}
	}
	return list, nil
}
