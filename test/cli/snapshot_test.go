package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/connprof/connprof/bpf"
)

// traces is everything on the host that a run might leave or change, a line each.
type traces map[string]bool

// hostSysctls are those that a run sets in its own namespace or might be tempted to raise.
var hostSysctls = []string{"net/ipv4/tcp_child_ehash_entries", "net/core/somaxconn", "net/ipv4/tcp_max_syn_backlog",
	"net/ipv4/ip_local_port_range", "net/ipv6/conf/lo/disable_ipv6", "fs/file-max", "fs/nr_open"}

// fixed are the traces that only someone who configures the host changes.
func fixed(t testing.TB) traces {
	t.Helper()
	found := traces{}
	for _, name := range hostSysctls {
		b, err := os.ReadFile("/proc/sys/" + name)
		found[fmt.Sprintf("sysctl %s = %s %v", name, b, err)] = true
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		found[fmt.Sprintf("interface %s %v %v %v", i.Name, i.Flags, addresses, err)] = true
	}
	for _, line := range strings.Split(string(readFile(t, "/proc/self/mountinfo")), "\n") {
		found["mount "+line] = true
	}
	names, _ := filepath.Glob("/run/netns/*")
	for _, name := range names {
		found["named namespace "+name] = true
	}
	return found
}

// passing are the traces that come and go with connprof's processes. Whatever else begins on the host meanwhile has others.
func passing(t testing.TB) traces {
	t.Helper()
	found := traces{}
	for _, pid := range processes() {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		found[fmt.Sprintf("process %d %s", pid, comm)] = true
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/ns/net", pid))
		for _, link := range links {
			if name, err := os.Readlink(link); err == nil {
				found["network namespace "+name] = true
			}
		}
	}
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			break // the last
		}
		if id = next; ofConnprof(programName(id)) {
			found[fmt.Sprintf("BPF program %d", id)] = true
		}
	}
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if err != nil {
			break
		}
		if id = next; ofConnprof(mapName(id)) {
			found[fmt.Sprintf("BPF map %d", id)] = true
		}
	}
	return found
}

// bpfNames are what connprof's programs and maps are called.
var bpfNames = func() map[string]bool {
	names := map[string]bool{}
	for _, load := range []func() (*ebpf.CollectionSpec, error){bpf.LoadAccept, bpf.LoadConnect, bpf.LoadFiles, bpf.LoadSlab,
		bpf.LoadState, bpf.LoadTables, bpf.LoadWalk} {
		spec, err := load()
		if err != nil {
			panic(err)
		}
		for name := range spec.Programs {
			names[short(name)] = true
		}
		for name := range spec.Maps {
			names[short(name)] = true
		}
	}
	return names
}()

// short is a name as the kernel keeps it (BPF_OBJ_NAME_LEN).
func short(name string) string { return name[:min(len(name), 15)] }

func ofConnprof(name string) bool { return bpfNames[name] }

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return "" // it is gone
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

func mapName(id ebpf.MapID) string {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return ""
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

// leavesNoTrace runs f and checks that the host is then as it was before. Memory and namespaces are freed by the
// kernel in its own time, and other programs on the host come and go: what counts is what stays.
func leavesNoTrace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	fixedBefore, passingBefore := fixed(t), passing(t)
	f(t)
	stays := traces{}
	for trace := range passing(t) {
		stays[trace] = !passingBefore[trace]
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		now := passing(t)
		left := []string{}
		for trace := range stays {
			if stays[trace] = stays[trace] && now[trace]; stays[trace] {
				left = append(left, trace)
			}
		}
		left = append(left, changes(fixedBefore, fixed(t))...)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the run left behind:\n%s", strings.Join(left, "\n"))
		}
	}
}

// changes lists what is only before or only after.
func changes(before, after traces) []string {
	var list []string
	for trace := range before {
		if !after[trace] {
			list = append(list, "gone: "+trace)
		}
	}
	for trace := range after {
		if !before[trace] {
			list = append(list, "new: "+trace)
		}
	}
	sort.Strings(list)
	return list
}
