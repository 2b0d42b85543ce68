package live

import (
	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/owner"
)

// places gives sockets that no process has open the cgroup that made them.
type places struct {
	paths owner.CgroupPaths
	known map[uint64]*account.Owner
}

// Place is the cgroup with that ID, nil where its path is not known.
func (p *places) Place(cgroup uint64) *account.Owner {
	if o, ok := p.known[cgroup]; ok {
		return o
	}
	var o *account.Owner
	if path := p.paths.Path(cgroup); path != "" {
		at := owner.ParseCgroup(path)
		o = &account.Owner{Cgroup: path, Unit: at.Unit, Container: at.Container, Pod: at.Pod}
	}
	if p.known == nil {
		p.known = map[uint64]*account.Owner{}
	}
	p.known[cgroup] = o
	return o
}
