package loader

import (
	"errors"
	"strings"
	"testing"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/privilege"
)

func TestAMissingCapabilityIsNamed(t *testing.T) {
	with := func(has ...capability.Cap) privilege.Set {
		return func(c capability.Cap) bool {
			for _, h := range has {
				if h == c {
					return true
				}
			}
			return false
		}
	}
	tests := []struct {
		own  privilege.Set
		want []string
	}{
		{with(), []string{"CAP_BPF", "CAP_PERFMON"}},
		{with(capability.CAP_BPF), []string{"CAP_PERFMON"}},
		{with(capability.CAP_PERFMON), []string{"CAP_BPF"}},
		{with(capability.CAP_BPF, capability.CAP_PERFMON), nil},
		{with(capability.CAP_SYS_ADMIN), nil},
	}
	for _, test := range tests {
		err := checkPrivileges(test.own)
		var missing *MissingError
		if errors.As(err, &missing) != (len(test.want) > 0) || missing != nil && !errors.Is(err, unix.EPERM) {
			t.Errorf("error %v, want one that names %v", err, test.want)
			continue
		}
		for _, name := range []string{"CAP_BPF", "CAP_PERFMON"} {
			if has, want := missing != nil && strings.Contains(missing.What, name), strings.Contains(strings.Join(test.want, " "), name); has != want {
				t.Errorf("%v names %s: %v, want %v", err, name, has, want)
			}
		}
	}
}

func TestTheTickIsTheKernels(t *testing.T) {
	tick, err := tickNanoseconds()
	if err != nil {
		t.Fatal(err)
	}
	// The rates that kernel/Kconfig.hz offers; TICK_NSEC is rounded.
	for _, hz := range []uint32{100, 250, 300, 1000} {
		if tick == (1_000_000_000+hz/2)/hz {
			return
		}
	}
	t.Errorf("a tick of %d ns is of no rate that kernels are built with", tick)
}
