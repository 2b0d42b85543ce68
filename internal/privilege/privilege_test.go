package privilege

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"
)

func only(caps ...capability.Cap) Set {
	return func(c capability.Cap) bool { return slices.Contains(caps, c) }
}

func TestWhatIsLackingIsNamedWithItsPurpose(t *testing.T) {
	needs := []Need{{Cap: capability.CAP_NET_ADMIN, Purpose: "to add addresses"},
		{Cap: capability.CAP_BPF, Within: []capability.Cap{capability.CAP_SYS_ADMIN}, Purpose: "to load programs"}}
	for _, c := range []struct {
		has  Set
		want string
	}{
		{only(), "CAP_NET_ADMIN (to add addresses), CAP_BPF (to load programs)"},
		{only(capability.CAP_NET_ADMIN), "CAP_BPF (to load programs)"},
		{only(capability.CAP_NET_ADMIN, capability.CAP_BPF), ""},
		{only(capability.CAP_SYS_ADMIN), "CAP_NET_ADMIN (to add addresses)"}, // which includes the other one
	} {
		if got := strings.Join(c.has.Lacking(needs...), ", "); got != c.want {
			t.Errorf("lacking: %q, want %q", got, c.want)
		}
	}
}

// The kernel's own list says the same, also after a capability was given up.
func TestTheEffectiveOnesAreThoseOfTheKernel(t *testing.T) {
	done := make(chan struct{})
	go func() { // capabilities are a thread's, and this one ends with it
		defer close(done)
		runtime.LockOSThread()
		checkAgainstProc(t)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var sets [2]unix.CapUserData
		if err := unix.Capget(&header, &sets[0]); err != nil {
			t.Error(err)
			return
		}
		sets[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		sets[1].Effective &^= 1 << (unix.CAP_BPF - 32)
		if err := unix.Capset(&header, &sets[0]); err != nil {
			t.Error(err)
			return
		}
		checkAgainstProc(t)
		lacking, err := Lacking(Need{Cap: capability.CAP_NET_ADMIN, Purpose: "a"}, Need{Cap: capability.CAP_BPF, Purpose: "b"})
		if fmt.Sprint(lacking) != "[CAP_NET_ADMIN (a) CAP_BPF (b)]" || err != nil {
			t.Errorf("without both: %v, %v", lacking, err)
		}
	}()
	<-done
}

func checkAgainstProc(t *testing.T) {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Error(err)
		return
	}
	_, line, _ := strings.Cut(string(b), "CapEff:\t")
	line, _, _ = strings.Cut(line, "\n")
	want, errWant := strconv.ParseUint(line, 16, 64)
	own, err := Effective()
	if err != nil || errWant != nil {
		t.Error(err, errWant)
		return
	}
	for c := range 64 {
		if got := own(capability.Cap(c)); got != (want>>c&1 == 1) {
			t.Errorf("capability %d: %v, and the kernel lists %016x", c, got, want)
		}
	}
}
