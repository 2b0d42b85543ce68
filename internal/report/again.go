package report

import "github.com/connprof/connprof/internal/recording"

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

// ID is the same for the same owner in each look with the same keys. It is not for people.
func (r *OwnerRow) ID() string { return r.id }
