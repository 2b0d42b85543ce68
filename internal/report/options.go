package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Options choose how the owners of a look at a host are shown. The zero value is what the recording asks for, else by process.
type Options struct {
	By   []string // one or two of OwnerKeys
	Sort string   // one of OwnerOrders; empty: bytes
	Rows int      // how many are listed; 0: DefaultRows
}

// DefaultRows is how many owners a report lists.
const DefaultRows = 20

// Check tells what is wrong with options.
func (o Options) Check() error {
	if _, err := keysOf(o.By); err != nil {
		return err
	}
	if o.Sort != "" && !slices.Contains(OwnerOrders(), o.Sort) {
		return fmt.Errorf("sort by %q: there is no such order; take one of %s", format.Clean(o.Sort), strings.Join(OwnerOrders(), ", "))
	}
	if o.Rows < 0 {
		return fmt.Errorf("list %d rows: take a number from 1 on", o.Rows)
	}
	return nil
}

// of fills in what is left open. A recording's own keys are taken only where they are good: it may be of another version.
func (o Options) of(r *recording.Recording) Options {
	for _, m := range r.Machines {
		if m.Look == nil || len(o.By) > 0 {
			continue
		}
		if _, err := keysOf(m.Look.By); err == nil {
			o.By = m.Look.By
		}
	}
	if len(o.By) == 0 {
		o.By = []string{"process"}
	}
	if o.Sort == "" {
		o.Sort = "bytes"
	}
	if o.Rows == 0 {
		o.Rows = DefaultRows
	}
	return o
}

// NewWith works out the report of a recording as options have it. Errors are those of Options.Check.
func NewWith(r *recording.Recording, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	shown := New(r)
	shown.Look = lookOf(shown.Recording, o.of(shown.Recording))
	return shown, nil
}
