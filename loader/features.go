package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/privilege"
)

// MissingError says that this host lacks something that the measurement cannot do without.
type MissingError struct {
	What  string // what is missing
	Cause error  // what the kernel said
	Fix   string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not available: %v; %s", e.What, e.Cause, e.Fix)
}

func (e *MissingError) Unwrap() error { return e.Cause }

const btfPath = "/sys/kernel/btf/vmlinux"

// needs are the privileges that loading the programs takes.
var needs = []privilege.Need{
	{Cap: capability.CAP_BPF, Within: []capability.Cap{capability.CAP_SYS_ADMIN}, Purpose: "to load BPF programs"},
	{Cap: capability.CAP_PERFMON, Within: []capability.Cap{capability.CAP_SYS_ADMIN}, Purpose: "to let them read the kernel's memory"},
}

// checkPrivileges names the capabilities that are missing, which the kernel does not.
func checkPrivileges(own privilege.Set) error {
	missing := own.Lacking(needs...)
	if len(missing) == 0 {
		return nil
	}
	return &MissingError{What: strings.Join(missing, ", "), Cause: unix.EPERM,
		Fix: "run as root, outside a container that takes it, or give connprof this capability"}
}

// checkFeatures looks for what no rung can replace.
func checkFeatures() error {
	own, err := privilege.Effective()
	if err != nil {
		return err
	}
	if err := checkPrivileges(own); err != nil {
		return err
	}
	if _, err := os.Stat(btfPath); err != nil {
		return missingBTF(err)
	}
	if err := features.HaveMapType(ebpf.RingBuf); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return &MissingError{What: "the BPF ring buffer", Cause: err, Fix: "it came with Linux 5.8; run a later kernel"}
		}
		if errors.Is(err, unix.EPERM) {
			return &MissingError{What: "the bpf() system call", Cause: err,
				Fix: "run outside a container whose seccomp filter forbids it"}
		}
		return fmt.Errorf("probe for the BPF ring buffer: %w", err)
	}
	return nil
}

func missingBTF(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if _, sysErr := os.Stat("/sys/kernel"); sysErr != nil {
			return &MissingError{What: "the kernel's type information (BTF)", Cause: err,
				Fix: "mount sysfs: mount -t sysfs sysfs /sys"}
		}
		return &MissingError{What: "the kernel's type information (BTF)", Cause: err,
			Fix: "run a kernel of 5.8 or later built with CONFIG_DEBUG_INFO_BTF=y, as distributions ship them"}
	}
	return &MissingError{What: "the kernel's type information (BTF)", Cause: err, Fix: "make it readable to root"}
}

// refusal says in a few words why the kernel refused a rung: the build option where its absence is known, else the
// kernel's own error.
func refusal(kind kernel.HookKind, err error) string {
	options := map[kernel.HookKind][]string{
		kernel.KindKprobe:     {"CONFIG_KPROBES", "CONFIG_KPROBE_EVENTS"},
		kernel.KindFentry:     {"CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS"},
		kernel.KindTracepoint: {"CONFIG_BPF_EVENTS"},
		kernel.KindIterator:   {"CONFIG_BPF_SYSCALL"},
	}
	for _, option := range options[kind] {
		if v, known := kernel.ConfigOption(option); known && v == "n" {
			return option + " is not set"
		}
	}
	if kind == kernel.KindKprobe {
		if _, statErr := os.Stat("/sys/bus/event_source/devices/kprobe"); statErr != nil {
			return "the kernel offers no kprobes (needs CONFIG_KPROBES and CONFIG_KPROBE_EVENTS)"
		}
	}
	// The whole error is in the chain; its first cause is what fits on a line.
	var verifier *ebpf.VerifierError
	var number unix.Errno
	switch {
	case errors.As(err, &verifier):
		return "the verifier refused the program: " + verifier.Unwrap().Error()
	case errors.As(err, &number):
		return "the kernel refused it: " + number.Error()
	}
	return err.Error()
}

// ownPIDNamespace is what the programs compare the namespaces of a task's numbers with. The kernel's own numbers are the
// first one's, and need no translation: 0.
func ownPIDNamespace() (uint32, error) {
	ns, err := kernel.OwnPIDNamespace()
	if err != nil || ns.First {
		return 0, err
	}
	return ns.Inode, nil
}

// functionHasArgs tells whether the running kernel's function takes n arguments.
func functionHasArgs(name string, n int) func(*btf.Spec) bool {
	return func(spec *btf.Spec) bool {
		var fn *btf.Func
		if err := spec.TypeByName(name, &fn); err != nil {
			return false
		}
		proto, ok := fn.Type.(*btf.FuncProto)
		return ok && len(proto.Params) == n
	}
}

// accountFlag is the kernel's SLAB_ACCOUNT. cc61eb851461 (6.10) moved it into an enum; before that it was a constant.
func accountFlag(spec *btf.Spec) uint32 {
	const before610 = 0x04000000
	var bits *btf.Enum
	if err := spec.TypeByName("_slab_flag_bits", &bits); err != nil {
		return before610
	}
	for _, v := range bits.Values {
		if v.Name == "_SLAB_ACCOUNT" {
			return 1 << v.Value
		}
	}
	return before610
}

// tracepointPassesCache tells whether kmem_cache_alloc passes a struct kmem_cache (6.1 and later) or sizes.
func tracepointPassesCache(spec *btf.Spec) bool {
	var def *btf.Typedef
	if err := spec.TypeByName("btf_trace_kmem_cache_alloc", &def); err != nil {
		return false
	}
	ptr, ok := def.Type.(*btf.Pointer)
	if !ok {
		return false
	}
	proto, ok := ptr.Target.(*btf.FuncProto)
	if !ok || len(proto.Params) < 4 {
		return false
	}
	_, isPointer := proto.Params[3].Type.(*btf.Pointer) // 0 is the tracepoint's own data, 1 call_site, 2 ptr
	return isPointer
}

// hasMember tells whether a struct of the running kernel has a member.
func hasMember(spec *btf.Spec, structure, member string) bool {
	var s *btf.Struct
	if err := spec.TypeByName(structure, &s); err != nil {
		return false
	}
	return slices.ContainsFunc(s.Members, func(m btf.Member) bool { return m.Name == member })
}

// hasTablesPerNetns tells whether a network namespace says in which hash tables its sockets are: d1e5e6408b30 (6.1) let it have
// its own. What else the pass over the tables needs is older: bpf_loop() of 5.17, one list a bucket of listeners of 5.19.
func hasTablesPerNetns(spec *btf.Spec) bool { return hasMember(spec, "inet_hashinfo", "pernet") }

// keepsPagesPerCPU tells whether CPUs keep some of the protocol's pages: 3cd3399dd7a8 (6.0).
func keepsPagesPerCPU(spec *btf.Spec) bool { return hasMember(spec, "proto", "per_cpu_fw_alloc") }

func keepsNoPages(spec *btf.Spec) bool { return !keepsPagesPerCPU(spec) }

// tickNanoseconds is the time from one jiffy to the next, which the kernel gives as the resolution of its coarse clocks
// (KTIME_LOW_RES).
func tickNanoseconds() (uint32, error) {
	var resolution unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &resolution); err != nil {
		return 0, fmt.Errorf("read the resolution of CLOCK_MONOTONIC_COARSE: %w", err)
	}
	return uint32(resolution.Nano()), nil
}
