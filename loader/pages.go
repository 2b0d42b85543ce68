package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// CPUPages is the sum over all CPUs of the pages that each keeps of those that TCP has taken. It can be negative, and is 0 before
// Linux 6.0, where CPUs keep none. Without Config.Live it is a *NotLoadedError.
func (p *Probes) CPUPages() (int64, error) {
	if p.files == nil {
		return 0, &NotLoadedError{kernel.HookPages}
	}
	if p.pages == nil {
		return 0, nil
	}
	// The protocol is found from a socket of it. This one is in no table of the network.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket, to find the protocol's counters: %w", err)
	}
	defer unix.Close(fd)
	if err := p.pages.Variables[bpf.PagesVarSocketFd].Set(uint32(fd)); err != nil {
		return 0, fmt.Errorf("set %s: %w", bpf.PagesVarSocketFd, err)
	}
	if _, err := p.pages.Programs[bpf.PagesProgSumCpuPages].Run(&ebpf.RunOptions{}); err != nil {
		return 0, fmt.Errorf("sum the pages that each CPU keeps: %w", err)
	}
	var pages int64
	if err := p.pages.Variables[bpf.PagesVarPages].Get(&pages); err != nil {
		return 0, fmt.Errorf("read %s: %w", bpf.PagesVarPages, err)
	}
	return pages, nil
}
