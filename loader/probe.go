package loader

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// State is whether the kernel has a feature.
type State string

// The states.
const (
	Present  State = "ok"
	Fallback State = "fallback" // something else does its work
	Absent   State = "missing"
	Unclear  State = "unknown" // it cannot be tried, Feature.Detail says why
)

// Feature is something that connprof asks of the kernel.
type Feature struct {
	Name        string
	State       State
	Detail      string // the rung that a hook gets; what the kernel said to the others
	Consequence string // of its absence
	Fix         string
}

// rungConsequences says what a hook does without when it gets a rung of that kind.
var rungConsequences = map[Hook]string{
	{Name: kernel.HookConnect, Kind: kernel.KindTracepoint}: "the same account; opens are told from state changes",
	{Name: kernel.HookAccept, Kind: kernel.KindTracepoint}:  "the same account, but no process ID for accepted ends",
}

const noAccount = "connprof run makes no account; connprof run --no-profile works"

// Probe tries everything that a run needs of the kernel, each hook's ladder among it, and leaves nothing attached. The
// hooks are attached for a moment, to no namespace's sockets.
func Probe() []Feature {
	raised := rlimit.RemoveMemlock() // before the ring is probed, which is charged to it
	list := []Feature{probeBTF(), probeRing()}
	p := &Probes{config: Config{RingBytes: os.Getpagesize()}, types: btf.NewCache(),
		shared: map[string]*ebpf.Map{}}
	defer p.Close()
	if err := raised; err != nil {
		for _, point := range ladder {
			list = append(list, unclear(hookName(point), fmt.Errorf("raise RLIMIT_MEMLOCK: %w", err)))
		}
		return list
	}
	for _, point := range ladder {
		list = append(list, p.probeHook(point))
	}
	return append(list, p.probeIterator(), probePIDNamespace())
}

// probePIDNamespace says how processes are numbered. The hooks have been loaded with that by then.
func probePIDNamespace() Feature {
	f := Feature{Name: "pid namespace", State: Present, Detail: "the host's own"}
	ns, err := kernel.OwnPIDNamespace()
	switch {
	case err != nil:
		return Feature{Name: f.Name, State: Unclear, Detail: err.Error(), Consequence: noAccount,
			Fix: "mount -t proc proc /proc"}
	case ns.First:
		return f
	case !kernel.ProcIsOwn():
		return Feature{Name: f.Name, State: Absent, Detail: "not the host's own, and /proc shows another one's processes",
			Consequence: "the same account, but no names and no memory of processes", Fix: "mount -t proc proc /proc"}
	}
	f.Detail = fmt.Sprintf("not the host's own (%d): process IDs are translated into it", ns.Inode)
	return f
}

func unclear(name string, err error) Feature {
	f := Feature{Name: name, State: Unclear, Detail: firstCause(err), Consequence: noAccount}
	if errors.Is(err, unix.EPERM) {
		f.Fix = "run it as root, with CAP_BPF and CAP_PERFMON"
	}
	return f
}

func firstCause(err error) string {
	var number unix.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

// missing turns the error of a probe into a feature: what only root may try is unclear, the rest is missing.
func missing(name string, err error) Feature {
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return unclear(name, err)
	}
	f := Feature{Name: name, State: Absent, Detail: firstCause(err), Consequence: noAccount}
	var m *MissingError
	if errors.As(err, &m) {
		f.Detail, f.Fix = m.Cause.Error(), m.Fix
	}
	return f
}

func probeBTF() Feature {
	if _, err := os.Stat(btfPath); err != nil {
		return missing("BTF", missingBTF(err))
	}
	return Feature{Name: "BTF", State: Present, Detail: btfPath}
}

func probeRing() Feature {
	const name = "ring buffer"
	err := features.HaveMapType(ebpf.RingBuf)
	switch {
	case err == nil:
		return Feature{Name: name, State: Present, Detail: "BPF_MAP_TYPE_RINGBUF"}
	case errors.Is(err, ebpf.ErrNotSupported):
		return missing(name, &MissingError{Cause: err, Fix: "it came with Linux 5.8: run a later kernel"})
	}
	return missing(name, err)
}

func hookName(point hookPoint) string { return string(point.name) + " hook" }

// probeHook climbs one hook's ladder.
func (p *Probes) probeHook(point hookPoint) Feature {
	name := hookName(point)
	hook, err := p.attachPoint(point)
	if err != nil {
		f := missing(name, err)
		f.Detail = strings.ReplaceAll(f.Detail, "\n", "; ")
		return f
	}
	p.hooks = append(p.hooks, hook)
	f := Feature{Name: name, State: Present, Detail: string(hook.Kind) + " " + hook.Function}
	if hook.Note != "" {
		f.State = Fallback
		f.Detail += " (" + hook.Note + ")"
		f.Consequence = rungConsequences[Hook{Name: hook.Name, Kind: hook.Kind}]
		f.Fix = "nothing has to be done; kprobes need CONFIG_KPROBES and CONFIG_KPROBE_EVENTS"
	}
	return f
}

// probeIterator makes the walk's iterator, which loading its program does not.
func (p *Probes) probeIterator() Feature {
	const name = "iterator tcp"
	if p.walk == nil {
		return Feature{Name: name, State: Unclear, Detail: "its program is not loaded", Consequence: noAccount,
			Fix: "see the walk hook"}
	}
	iter, err := link.AttachIter(link.IterOptions{Program: p.walk})
	if err != nil {
		return missing(name, err)
	}
	iter.Close()
	return Feature{Name: name, State: Present, Detail: "bpf iter/tcp"}
}
