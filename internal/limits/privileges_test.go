package limits

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// These tests run as root, with what a run needs.
func TestRootMayRun(t *testing.T) {
	if err := CheckPrivileges("run"); err != nil {
		t.Error(err)
	}
}

// The library's numbers and names are those of include/uapi/linux/capability.h.
func TestCapabilitiesHaveTheKernelsNumbersAndNames(t *testing.T) {
	numbers := map[string]int{"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SYSLOG": unix.CAP_SYSLOG,
		"CAP_PERFMON": unix.CAP_PERFMON, "CAP_BPF": unix.CAP_BPF, "CAP_SYS_RESOURCE": unix.CAP_SYS_RESOURCE}
	for _, need := range append(needs, sysResource) {
		if n, ok := numbers[need.Name()]; !ok || n != int(need.Cap) {
			t.Errorf("%s has number %d here, %d in the kernel", need.Name(), need.Cap, n)
		}
		delete(numbers, need.Name())
	}
	for name := range numbers {
		t.Errorf("%s is not asked for", name)
	}
}

func TestRootOfAUserNamespaceIsNotEnough(t *testing.T) {
	h := madeUp(t, nil)
	path := filepath.Join(h.Root, "/proc/self/ns/user")
	writeFile(t, path, "") // any file that is not the first namespace's
	for _, c := range Capabilities(h) {
		if c.Has || !c.Within {
			t.Errorf("%+v", c)
		}
	}
	if r := rowOf(t, Judge(h, million()), "nofile (hard)"); !strings.Contains(r.Note, "CAP_SYS_RESOURCE") {
		t.Errorf("%+v", r)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, c := range Capabilities(h) {
		if !c.Has || c.Within {
			t.Errorf("in no namespace that is known: %+v", c)
		}
	}
}
