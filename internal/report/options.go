package report

import (
	"errors"
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
	if err := onePeerOrService(o.By); err != nil {
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

// byPeer are the keys of which an account has either the first or the others.
const byPeer, byListener, byService = "peer", "listener", "service"

// byOpener is the key that only records have.
const byOpener = "opener"

func onePeerOrService(by []string) error {
	if slices.Contains(by, byPeer) && (slices.Contains(by, byListener) || slices.Contains(by, byService)) {
		return fmt.Errorf("group by %s: an account is divided by peer, or by listener and service; take one of them", strings.Join(by, ","))
	}
	return nil
}

// HasOwners tells whether a recording is a look at a host, which options are for.
func HasOwners(r *recording.Recording) bool { return lookIn(r) != nil }

// Divides tells why a look cannot be grouped by keys: its account is not divided by them. Other recordings have no groups.
func Divides(r *recording.Recording, by []string) error {
	m := lookIn(r)
	if m == nil {
		return nil
	}
	peers := slices.Contains(m.Look.By, byPeer)
	for _, key := range by {
		switch {
		case key == byPeer && !peers:
			return errors.New("group by peer: the snapshot has no peers; take it with --by peer")
		case (key == byListener || key == byService) && peers:
			return fmt.Errorf("group by %s: the snapshot has peers in their place; take it without --by peer", key)
		case key == byOpener && m.Record == nil:
			return errors.New("group by opener: a snapshot does not know who opened what; take a record with connprof record --by opener")
		case key == byOpener && !hasOpeners(m):
			return errors.New("group by opener: the record's sockets are not divided by opener; take it with connprof record --by opener")
		}
	}
	return nil
}

func hasOpeners(m *recording.Machine) bool {
	return len(m.Groups) == 0 || slices.ContainsFunc(m.Groups, func(g recording.Group) bool { return g.Opener > 0 })
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

// Keys are what a recording is grouped by.
func (o Options) Keys(r *recording.Recording) []string { return o.of(r).By }

// NewWith works out the report of a recording as options have it. Errors are those of Options.Check.
func NewWith(r *recording.Recording, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	shown := New(r)
	shown.Look = lookOf(shown.Recording, o.of(shown.Recording))
	shown.Record = recordOf(shown.Recording, o.of(shown.Recording))
	return shown, nil
}
