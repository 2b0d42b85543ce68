package cli

import (
	"bytes"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/netcfg"
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

// A snapshot has the entries of the network namespace that it runs in beside the sockets' account, and no socket has a share of them.
func TestASnapshotSaysHowFullConnectionTrackingIs(t *testing.T) {
	const connections = 60
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	most, err := network.Track()
	if err != nil {
		if _, err := os.Stat("/proc/sys/net/netfilter/nf_conntrack_max"); err == nil {
			t.Fatalf("the kernel has connection tracking: %v", err)
		}
	}
	var ends []net.Conn
	defer func() {
		for _, c := range ends {
			c.Close()
		}
	}()
	holds(t, network.Do(func() error {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		for range connections {
			client, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			ends = append(ends, client)
		}
		return nil
	}))
	cmd := command(t, "snapshot", "--no-calibrate", "-o", "look.json")
	var out bytes.Buffer
	cmd.Stdout = &out
	holds(t, network.Start(cmd))
	holds(t, cmd.Wait())
	look := readRecording(t, cmd.Dir+"/look.json").Machines[0].Look
	if most == 0 { // a kernel without it
		if look.TrackedMax != 0 || look.Tracked != 0 {
			t.Errorf("%d of %d entries, and nothing is tracked", look.Tracked, look.TrackedMax)
		}
		return
	}
	if look.Tracked != connections || look.TrackedMax != most || look.TrackedBytes < connections*200 {
		t.Errorf("%d of %d entries in %d bytes, want %d of %d in 200 each at least", look.Tracked, look.TrackedMax, look.TrackedBytes,
			connections, most)
	}
	says(t, "stdout", out.String(), "conntrack", "entries, of ")
}
