package live

import (
	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

type Choice struct{}

func (Choice) Words() []string { return nil }

type chooser struct{}

func (chooser) all() bool                               { return true }
func (chooser) chosen(l *look, e *kernel.Endpoint) bool { return true }

func readBooks(p *loader.Probes, l *recording.Look) (account.HostBooks, error) {
	return account.HostBooks{}, nil
}

type tmpPlaces struct{}

func (*tmpPlaces) Place(uint64) *account.Owner { return nil }
