package report

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestAReportSaysWhatLiesInTheQueuesOfEachMachine(t *testing.T) {
	end := func(role kernel.Role, unread, unacked uint64) *recording.Machine {
		return &recording.Machine{Load: &recording.Load{End: role, UnreadBytes: unread, UnackedBytes: unacked}}
	}
	for _, c := range []struct {
		machines []*recording.Machine
		want     string // keys and values
	}{
		{[]*recording.Machine{end(kernel.RoleBoth, 0, 0)}, ""},
		{[]*recording.Machine{end(kernel.RoleBoth, 4_096_000, 0)}, "data: 4,096,000 bytes unread, 0 not acknowledged"},
		{[]*recording.Machine{end(kernel.RoleClient, 0, 1234), end(kernel.RoleServer, 5678, 0)},
			"data: client: 0 bytes unread, 1,234 not acknowledged; : server: 5,678 bytes unread, 0 not acknowledged"},
		{[]*recording.Machine{end(kernel.RoleClient, 0, 0), end(kernel.RoleServer, 5678, 0)},
			"data: server: 5,678 bytes unread, 0 not acknowledged"},
	} {
		var got []string
		for _, f := range queueFacts(&recording.Recording{Machines: c.machines}) {
			got = append(got, f.Key+": "+f.Value)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%q, want %q", text, c.want)
		}
	}
}
