package live

import (
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/owner"
)

// processes are those that opened connections, each read once, when it is first asked for: it may end at any time.
type processes map[uint32]owner.Process

func (p processes) read(pid uint32) owner.Process {
	if pid == 0 {
		return owner.Process{}
	}
	process, known := p[pid]
	if !known {
		process = owner.Reader{}.Read(int(pid))
		p[pid] = process
	}
	return process
}

// container is the container of a process, as far as it could be read.
func (p processes) container(pid uint32) string {
	return owner.ParseCgroup(p.read(pid).Cgroup).Container
}

// inCgroup tells whether one of some processes is in one of the cgroups or below.
func (p processes) inCgroup(pids map[uint32]struct{}, cgroups []string) bool {
	for pid := range pids {
		at := p.read(pid).Cgroup
		if slices.ContainsFunc(cgroups, func(c string) bool { return at == c || strings.HasPrefix(at, c+"/") }) {
			return true
		}
	}
	return false
}
