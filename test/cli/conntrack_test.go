package cli

import (
	"os"
	"strconv"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// Each end has half of an entry, and slab memory holds as many entries as there are connections.
func TestEntriesOfConnectionTrackingAreInTheAccount(t *testing.T) {
	for _, family := range []string{"", "--ipv6"} {
		args := []string{"run", "--conns", strconv.Itoa(closedConns), "--conntrack", "-o", "rec.json"}
		if family != "" {
			args = append(args, family)
		}
		cmd := command(t, args...)
		r := finish(t, cmd)
		if _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max"); err != nil { // a kernel without it, or without its module
			r.complains(t, exitFailed, "connection tracking", "leave out --conntrack", "nft_ct")
			continue
		}
		r.exits(t, exitDone)
		m := readOne(t, cmd.Dir+"/rec.json")
		if m.Load.Tracked != closedConns {
			t.Errorf("%s: %d entries for %d connections", family, m.Load.Tracked, closedConns)
		}
		for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
			if o := objectOf(established(t, m, role), "nf_conn"); o.Count != closedConns/2 || o.Cache != "nf_conntrack" || o.PageBytes == 0 {
				t.Errorf("%s: the %s ends have %+v, want half of an entry each", family, role, o)
			}
		}
		holds(t, check.Load(m, closedConns), check.Stacks(m), check.Caches(m))
		says(t, "stdout", r.stdout, "nf_conn", "3,000 entries, each shared by the ends of a connection")
	}
}

func objectOf(row recording.EndpointRow, kind string) recording.ObjectRow {
	for _, o := range row.Objects {
		if o.Type == kind {
			return o
		}
	}
	return recording.ObjectRow{}
}
