package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// The counter of a namespace's entries, and the bound that the kernel has for those of each.
const (
	trackedFile     = "/proc/sys/net/netfilter/nf_conntrack_count"
	mostTrackedFile = "/proc/sys/net/netfilter/nf_conntrack_max"
)

// Track puts connection tracking into the path of the namespace's packets, by a rule that looks at their state and lets all pass. It
// returns how many entries a namespace may have. The kernel takes the rule away with the namespace.
func (p *Private) Track() (most int, err error) {
	err = p.Do(func() error {
		if err := addTracking(); err != nil {
			return fmt.Errorf("put connection tracking into the run's network: %w; leave out --conntrack, or use a kernel with "+
				"CONFIG_NF_CONNTRACK, CONFIG_NF_TABLES_INET and CONFIG_NFT_CT (modprobe nft_ct)", err)
		}
		most, err = readNumber(mostTrackedFile)
		return err
	})
	return most, err
}

// addTracking makes the table. The hooks of connection tracking are put in with the first expression that asks it for something
// (nft_ct_get_init).
func addTracking() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "connprof"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "track", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}})
	return conn.Flush()
}

// Tracked is how many entries connection tracking has in the namespace.
func (p *Private) Tracked() (n int, err error) {
	err = p.Do(func() error {
		n, err = readNumber(trackedFile)
		return err
	})
	return n, err
}

func readNumber(path string) (int, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("read %s: %w (is /proc mounted, and nf_conntrack there?)", path, err)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}
