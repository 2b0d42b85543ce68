package live

import (
	"fmt"
	"runtime"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// host is the kernel that is looked at.
func host() recording.Host {
	release, machine := kernel.Release()
	h := recording.Host{Boot: kernel.BootID(), Kernel: release, CPUs: runtime.NumCPU(), Machine: machine}
	if info, err := kernel.ReadMeminfo(); err == nil {
		h.MemoryBytes = info["MemTotal"]
	}
	return h
}

const sysKernelSlab = "/sys/kernel/slab"

// readSlabs is the slab caches, and the names that merged ones are listed under.
func readSlabs() (map[string]kernel.Slab, map[string]string, error) {
	slabs, err := kernel.ReadSlabinfo()
	if err != nil {
		return nil, nil, fmt.Errorf("read slab caches: %w", err)
	}
	return slabs, kernel.Aliases(sysKernelSlab, slabs), nil
}

// checkPIDNamespace finds out whether all processes of the host are seen. The kernel lists the open files of those in connprof's
// own PID namespace and below.
func (l *look) checkPIDNamespace() {
	namespace, err := kernel.OwnPIDNamespace()
	switch {
	case err != nil:
		l.note("%v: where connprof runs in a PID namespace of its own, it sees no process outside it", err)
	case !namespace.First:
		l.partial = true
		l.note("connprof runs in a PID namespace of its own, as in a container, and sees no process outside it: whose their " +
			"sockets are is not known; run it in the host's (docker run --pid=host, or hostPID in Kubernetes)")
	}
}
