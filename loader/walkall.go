package loader

import (
	"errors"
	"fmt"
	"slices"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// Coverage says what of the host a walk has visited.
type Coverage struct {
	Walked []uint32 // inode numbers of the network namespaces that were walked
	Missed []MissedNetns
	// OnePass says that the endpoints of all namespaces were found at once, in the protocol's hash tables. No socket was locked
	// for it. Else each namespace was entered.
	OnePass bool
	// Overfull is how many buckets of those tables held more endpoints than are visited of one.
	Overfull uint64
}

// MissedNetns is a network namespace that was not walked.
type MissedNetns struct {
	Inode uint32
	Why   error
}

// Namespaces lists the inode numbers of the host's network namespaces, lowest first: all of them where the hook "tables" is no
// stand-in, else those that a process, a mount or an open TCP socket leads to. Without Config.Live it is a *NotLoadedError.
func (p *Probes) Namespaces() ([]uint32, error) {
	if p.files == nil {
		return nil, &NotLoadedError{kernel.HookTables}
	}
	if p.tables == nil {
		found, err := p.reachable()
		found.close()
		return found.inodes(), err
	}
	list, err := p.listNamespaces()
	return inodesOf(list), err
}

func inodesOf(list []bpf.TablesNetnsRecord) (inodes []uint32) {
	for _, n := range list {
		inodes = append(inodes, n.Inode)
	}
	slices.Sort(inodes)
	return inodes
}

// WalkAll visits every TCP endpoint of the host: what Walk says holds for it, too. An endpoint whose state changes meanwhile can
// come twice, or not at all. Without Config.Live it is a *NotLoadedError.
func (p *Probes) WalkAll(visit func(*kernel.Endpoint) error) (Coverage, error) {
	if p.files == nil {
		return Coverage{}, &NotLoadedError{kernel.HookTables}
	}
	if p.tables == nil {
		return p.walkEach(visit)
	}
	list, err := p.listNamespaces()
	if err != nil {
		return Coverage{}, err
	}
	overfull, err := p.walkTables(list, visit)
	return Coverage{Walked: inodesOf(list), OnePass: true, Overfull: overfull}, err
}

// walkEach enters one namespace after the other.
func (p *Probes) walkEach(visit func(*kernel.Endpoint) error) (Coverage, error) {
	found, err := p.reachable()
	defer found.close()
	if err != nil {
		return Coverage{}, err
	}
	c := Coverage{Missed: found.missed}
	for _, n := range found.namespaces {
		err := p.Walk(visit, n)
		var closed *enterError
		switch {
		case errors.As(err, &closed):
			c.Missed = append(c.Missed, MissedNetns{n.inode, closed})
		case err != nil:
			return c, fmt.Errorf("after %d network namespaces: %w", len(c.Walked), err)
		default:
			c.Walked = append(c.Walked, n.inode)
		}
	}
	return c, nil
}
