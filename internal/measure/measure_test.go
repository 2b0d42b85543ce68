package measure

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// Nothing here knows who opened the connections: another program has, all of them or some before the probes were there.
func TestEachSetOfHooksMeasuresWhatAnotherProgramHasOpened(t *testing.T) {
	const n = 150
	for name, set := range map[string]loader.HookSet{"full": loader.Full, "life": loader.Life, "walk only": loader.WalkOnly} {
		t.Run(name, func(t *testing.T) {
			network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 4 * n})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(network.Close)
			p := &plain{t: t, network: network}
			p.startProgram(n)
			p.open()
			m, err := Start(Config{Networks: []loader.Netns{network}, Hooks: set, Endpoints: 4 * n, SampleInterval: 32})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if _, err := m.Baseline(); err != nil {
				t.Fatal(err)
			}
			p.open()
			after, err := ReadSlabs()
			if err != nil {
				t.Fatal(err)
			}
			out := &recording.Machine{Hooks: m.Hooks()}
			if err := m.Account(out, after, nil); err != nil {
				t.Fatal(err)
			}
			checkEnds(t, m, out, 2*n)
			want := n
			if set == loader.WalkOnly {
				want = 0
			}
			// A program that the kernel has skipped is counted as a loss.
			if opened := out.Trace.ClientOpens; opened > want || want-opened > int(out.Losses.RecursionMisses) {
				t.Errorf("the trace has %d connections open and %d misses, want the %d since it is there", opened,
					out.Losses.RecursionMisses, want)
			}
			if (len(out.Trace.CallSites) > 0) != (set == loader.Full) {
				t.Errorf("%d call sites", len(out.Trace.CallSites))
			}
		})
	}
}

// checkEnds holds the account, and a count beside it, against the n connections that there are.
func checkEnds(t *testing.T, m *Measurement, out *recording.Machine, n int) {
	t.Helper()
	counted, err := m.Count()
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		if got := out.CountIn(role, "ESTABLISHED"); got != n || counted[End{role, "ESTABLISHED"}] != n {
			t.Errorf("%d %s endpoints in the account, %d counted, want %d", got, role, counted[End{role, "ESTABLISHED"}], n)
		}
	}
	for _, row := range out.Endpoints {
		if row.Role == kernel.RoleUnknown || row.PageBytes == 0 {
			t.Errorf("%+v", row)
		}
	}
}
