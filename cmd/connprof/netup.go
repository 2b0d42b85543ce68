package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/connprof/connprof/netcfg"
)

// netupFlags are the flags of `connprof netup`.
type netupFlags struct {
	dev, from    string
	cidrs        []string
	ips          int
	dryRun, list bool
	journal      string
}

func newNetup() *cobra.Command {
	f := &netupFlags{}
	cmd := &cobra.Command{
		Use:   "netup",
		Short: "Add alias addresses to an interface, once nobody answers for them",
		Long: fmt.Sprintf(`Add consecutive addresses, or those of a list, to a network interface, for tests between machines. First the neighbours are asked whether
somebody has one of them: three ARP probes for each address (RFC 5227), or IPv6 neighbour solicitations, all addresses
at once, in %.1f s. If one is in use, its owner's MAC is named and nothing is added. Network, broadcast and gateway
addresses, and those that this host already has, are refused.

All addresses are added, or none. What is added is noted in a journal first, and connprof netdown removes exactly
that. IPv4 aliases are labelled DEV:cpN, which ip addr shows; IPv6 has no labels, so the journal tells, and newer
versions of ip addr show them with proto 0x63.`, netcfg.ProbeTime.Seconds()),
		Example: `  sudo connprof netup --dev eth0 --cidr 192.168.1.200/24 --ips 20
  sudo connprof netup --dev eth0 --cidr 2001:db8::200/64 --ips 20 --dry-run
  sudo connprof netup --dev eth0 --cidr 192.168.1.7/24,192.168.1.20-192.168.1.29/24
  connprof netup --list`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.dev, "dev", "", "the interface; VLAN, bond, bridge and veth interfaces are fine")
	flags.StringSliceVar(&f.cidrs, "cidr", nil, "the first address with the network's prefix length, such as 192.168.1.200/24; or `LIST`: "+
		"addresses, and ranges such as 192.168.1.7-192.168.1.9/24, with commas between (repeatable)")
	flags.StringVar(&f.from, "from", "", "take the list from this `FILE`, one element a line, # begins a comment; - is standard input")
	flags.IntVar(&f.ips, "ips", 20, "how many addresses, from a single one on")
	flags.BoolVar(&f.dryRun, "dry-run", false, "ask the neighbours and show what would be added, but add nothing")
	flags.BoolVar(&f.list, "list", false, "show the addresses in the journal, of one interface with --dev; needs no root")
	flags.StringVar(&f.journal, "journal", netcfg.DefaultJournal, "the `FILE` that notes what was added")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.list {
			return f.showList(cmd)
		}
		return f.run(cmd.Flags().Changed("ips"))
	}
	return cmd
}

// check refuses flags that make no sense, and gives out the addresses they ask for.
func (f *netupFlags) check(ipsGiven bool) ([]netip.Prefix, error) {
	switch {
	case f.dev == "":
		return nil, usageError{errors.New("netup needs --dev, the interface; see connprof netup --help")}
	case len(f.cidrs) == 0 && f.from == "":
		return nil, usageError{errors.New("netup needs --cidr, the first address, or --from, a file with a list; see connprof netup --help")}
	}
	if err := checkNames(f.dev, f.journal); err != nil {
		return nil, err
	}
	if len(f.cidrs) == 1 && f.from == "" && !strings.Contains(f.cidrs[0], "-") {
		wanted, err := netcfg.Consecutive(f.cidrs[0], f.ips)
		if err != nil {
			return nil, usageError{fmt.Errorf("--cidr %q --ips %d: %w", f.cidrs[0], f.ips, err)}
		}
		return wanted, nil
	}
	if ipsGiven {
		return nil, usageError{errors.New("--ips counts on from a single --cidr: leave it out where there is a list")}
	}
	return f.listed()
}

// listed are the addresses of the list, those of the file after the others.
func (f *netupFlags) listed() ([]netip.Prefix, error) {
	elements := f.cidrs
	if f.from != "" {
		more, err := linesOf(f.from)
		if err != nil {
			return nil, fmt.Errorf("netup: --from: %w", err)
		}
		elements = append(elements[:len(elements):len(elements)], more...)
	}
	wanted, err := netcfg.FromList(elements)
	if err != nil {
		return nil, usageError{fmt.Errorf("list of addresses: %w", err)}
	}
	return wanted, nil
}

// linesOf are a file's lines without comments and blanks.
func linesOf(path string) (lines []string, err error) {
	in := os.Stdin
	if path != "-" {
		if in, err = os.Open(path); err != nil {
			return nil, err
		}
		defer in.Close()
	}
	text := bufio.NewScanner(in)
	for text.Scan() {
		line, _, _ := strings.Cut(text.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if err := text.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return lines, nil
}

func checkNames(dev, journal string) error {
	if journal == "" {
		return usageError{errors.New("--journal: want a file name")}
	}
	if dev == "" {
		return nil
	}
	if err := netcfg.CheckDeviceName(dev); err != nil {
		return usageError{fmt.Errorf("--dev: %w", err)}
	}
	return nil
}

func (f *netupFlags) run(ipsGiven bool) error {
	wanted, err := f.check(ipsGiven)
	if err != nil {
		return err
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, "asking on %s whether somebody has one of %d addresses: %.1f s\n", netcfg.Printable(f.dev),
			len(wanted), netcfg.ProbeTime.Seconds())
	}
	_, stop, release := watchSignals(context.Background())
	defer release()
	up, err := netcfg.Up(netcfg.UpOptions{Device: f.dev, Wanted: wanted, Journal: f.journal, DryRun: f.dryRun, Stop: stop})
	if err != nil {
		return fmt.Errorf("netup: %w", err)
	}
	if f.dryRun {
		fmt.Printf("nobody has them; a run without --dry-run would add %s\n", up)
		return nil
	}
	fmt.Printf("added %s\nconnprof netdown%s removes them again\n", up, journalFlag(f.journal))
	return nil
}

// journalFlag is what netdown has to be told of the journal.
func journalFlag(journal string) string {
	if journal == netcfg.DefaultJournal {
		return ""
	}
	return " --journal " + journal
}

// showList prints the journal as a table.
func (f *netupFlags) showList(cmd *cobra.Command) error {
	for _, name := range []string{"cidr", "from", "ips", "dry-run"} {
		if cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--list only shows what is there: leave out --%s", name)}
		}
	}
	if err := checkNames(f.dev, f.journal); err != nil {
		return err
	}
	list, err := netcfg.List(f.journal, f.dev)
	if err != nil {
		return fmt.Errorf("netup: %w", err)
	}
	if len(list) == 0 {
		fmt.Println("no aliases in the journal", f.journal)
		return nil
	}
	return writeFile("-", func(w io.Writer) error {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "interface\taddress\tlabel\tadded\tstate")
		for _, a := range list {
			label := "–" // IPv6
			if a.Label != "" {
				label = netcfg.Printable(a.Label)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", netcfg.Printable(a.Device), a.Address, label,
				a.Added.Local().Format(time.DateTime), a.State)
		}
		return table.Flush()
	})
}

func newNetdown() *cobra.Command {
	var o netcfg.DownOptions
	cmd := &cobra.Command{
		Use:   "netdown",
		Short: "Remove the alias addresses that netup added",
		Long: `Remove the addresses that the journal names, where they still are as connprof netup added them, and strike them off
the journal. Addresses that have gone with a restart of the host or with their interface are only struck off. Those
that somebody has changed or added anew since are left alone. The second time there is nothing left to do.`,
		Example: `  sudo connprof netdown
  sudo connprof netdown --dev eth0
  connprof netdown --dry-run`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.Device, "dev", "", "only those of this interface (default all)")
	flags.BoolVar(&o.DryRun, "dry-run", false, "show what would be removed, but remove nothing; needs no root")
	flags.StringVar(&o.Journal, "journal", netcfg.DefaultJournal, "the `FILE` that netup noted them in")
	cmd.RunE = func(*cobra.Command, []string) error { return netdown(o) }
	return cmd
}

func netdown(o netcfg.DownOptions) error {
	if err := checkNames(o.Device, o.Journal); err != nil {
		return err
	}
	_, _, release := watchSignals(context.Background()) // it is done in no time, and better not by half
	defer release()
	list, err := netcfg.Down(o)
	if o.DryRun && len(list) > 0 {
		fmt.Println("a dry run, nothing is changed; without it:")
	}
	for _, d := range list {
		fmt.Println(d)
	}
	if err != nil {
		return fmt.Errorf("netdown: %w", err)
	}
	if len(list) == 0 {
		fmt.Println("nothing to remove")
	}
	return nil
}
