package report

import (
	"maps"
	"slices"

	"github.com/connprof/connprof/internal/recording"
)

// OwnersAgain is the rows of one look of many, as options have them, without a bound on their number. Row.ID finds an owner again
// in the next look.
func OwnersAgain(m *recording.Machine, o Options) ([]OwnerRow, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	rows, err := GroupBy(m, o.By)
	sortOwners(rows, o.Sort)
	return rows, err
}

// Within divides the groups of one owner of OwnersAgain, by its ID and the keys that it was divided by, again by other keys.
func Within(m *recording.Machine, by []string, id string, again Options) ([]OwnerRow, error) {
	if err := again.Check(); err != nil {
		return nil, err
	}
	takes, err := Of(m, by, id)
	if err != nil {
		return nil, err
	}
	rows, err := ownersOf(m, again.By, takes)
	sortOwners(rows, again.Sort)
	return rows, err
}

// Of tells of groups whether they are of one owner of OwnersAgain, by its ID and the keys that it was divided by. The groups may be
// those of a later look at the same host.
func Of(m *recording.Machine, by []string, id string) (func(*recording.Group) bool, error) {
	keys, err := keysOf(by)
	if err != nil {
		return nil, err
	}
	keys = bound(keys, m)
	listeners := listenersOf(m)
	return func(g *recording.Group) bool {
		label := labelOf(g, keys, listeners)
		return label.id == id
	}, nil
}

// PIDs are the processes that have sockets of the row, lowest first.
func (r *OwnerRow) PIDs() []int { return slices.Sorted(maps.Keys(r.pids)) }

// ID is the same for the same owner in each look with the same keys. It is not for people.
func (r *OwnerRow) ID() string { return r.id }
