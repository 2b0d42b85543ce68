package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/connprof/connprof/internal/checkreport"
	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
)

// defaultCheckConns is the number that the published experiment reaches.
const defaultCheckConns = 1_000_000

// maxCheckAddresses and maxCheckPorts bound the schemes that check can be asked about.
const (
	maxCheckAddresses = 65_535
	maxCheckPorts     = 65_535
)

// checkFlags are the flags of `connprof check`.
type checkFlags struct {
	conns        countValue
	ips, ports   int
	role         string
	threadEach   bool
	recording    string
	journal      string
	json         bool
	fix, restore bool
}

func newCheck() *cobra.Command {
	f := &checkFlags{conns: defaultCheckConns}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "List every limit between this host and N connections, and what the kernel offers",
		Long: `List every limit between this host and N connections of an ordinary program: where it is set, what it is now, what
the connections need, and the command that would raise it. Exit status 0 when they fit and 1 when not.

--fix raises the sysctls that are too low, after it has written the old values into a journal; --restore puts them
back. Neither touches /etc, a cgroup, or the limits of a process.`,
		Example: `  connprof check
  connprof check --conns 100k --as client --ips 1
  sudo connprof snapshot --port 443 -o web.json; connprof check --conns 50k --as server --recording web.json
  sudo connprof check --conns 100k --fix && ./my-benchmark; sudo connprof check --restore`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(&f.conns, "conns", "connections, such as 20k or 1M")
	flags.IntVar(&f.ips, "ips", 0, "client addresses (default those of this host; 20 with --as server, whose clients are elsewhere)")
	flags.IntVar(&f.ports, "ports", experiment.Defaults().Ports, "server ports")
	flags.StringVar(&f.role, "as", kernel.RoleBoth.String(), "`ROLE`: which ends are on this host: client, server or both")
	flags.BoolVar(&f.threadEach, "threads-per-connection", false, "the accepting end runs one thread a connection")
	flags.StringVar(&f.recording, "recording", "", "take the cost of an endpoint from this recording (default "+defaultRecording+
		" if it was made on this kernel)")
	flags.BoolVar(&f.json, "json", false, "print it as JSON")
	flags.BoolVar(&f.fix, "fix", false, "raise the sysctls that are too low")
	flags.BoolVar(&f.restore, "restore", false, "put back what --fix has raised")
	flags.StringVar(&f.journal, "journal", limits.DefaultJournal, "where --fix keeps the old values")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	return cmd
}

// check refuses flags that make no sense.
func (f *checkFlags) check(ipsGiven bool) error {
	problem := ""
	role, _ := kernel.ParseRole(f.role)
	switch {
	case ipsGiven && (f.ips < 1 || f.ips > maxCheckAddresses):
		problem = fmt.Sprintf("--ips %d: want 1 to %d client addresses", f.ips, maxCheckAddresses)
	case f.ports < 1 || f.ports > maxCheckPorts:
		problem = fmt.Sprintf("--ports %d: want 1 to %d server ports", f.ports, maxCheckPorts)
	case !slices.Contains(limits.Roles, role):
		problem = fmt.Sprintf("--as %q: want client, server or both", f.role)
	case f.fix && f.restore:
		problem = "--fix and --restore undo each other: give one of them"
	case f.json && (f.fix || f.restore):
		problem = "--json prints the table and changes nothing: leave out --fix and --restore"
	case f.journal == "":
		problem = "--journal: want a file name"
	}
	if problem != "" {
		return usageError{errors.New(problem)}
	}
	return nil
}

func (f *checkFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd.Flags().Changed("ips")); err != nil {
		return err
	}
	if f.restore {
		return f.putBack()
	}
	demand, source, err := f.demand()
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	rows := limits.Judge(limits.Host{}, demand)
	if f.fix {
		return f.raise(demand, rows)
	}
	doc := f.document(demand, source, rows)
	err = writeFile("-", func(w io.Writer) error {
		if f.json {
			return checkreport.WriteJSON(w, doc)
		}
		return checkreport.WriteText(w, doc, terminalWidth(), colored(cmd))
	})
	if err != nil {
		return err
	}
	return tooMany(demand, rows)
}

// terminalWidth is 0 where standard output is no terminal.
func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}

var endsOf = map[kernel.Role]string{kernel.RoleClient: "as client", kernel.RoleServer: "as server", kernel.RoleBoth: "with both ends"}

// tooMany is the error that names the limit which binds first, nil where all fit.
func tooMany(d limits.Demand, rows []limits.Row) error {
	name := ""
	for _, c := range limits.Capacities(rows) {
		if c.Role == d.Role {
			name = c.First
		}
	}
	var first *limits.Row
	others := 0
	for i := range rows {
		if rows[i].Verdict != limits.TooLow {
			continue
		}
		others++
		if rows[i].Limit == name {
			first = &rows[i]
		}
	}
	if first == nil {
		return nil
	}
	more := ""
	if others > 1 {
		more = fmt.Sprintf("; too low as well: %d more, see the table", others-1)
	}
	return fmt.Errorf("check: %d connections %s do not fit: stopped at %d by %s (%s); fix: %s%s", d.Conns,
		endsOf[d.Role], first.Holds[d.Role], first.Limit, first.Where, first.Fix, more)
}

// raise is --fix: what it is about to do, what it did, what is left to others, and how to keep it.
func (f *checkFlags) raise(d limits.Demand, rows []limits.Row) error {
	host := limits.Host{}
	steps, err := limits.Steps(host, rows)
	if err != nil {
		return fmt.Errorf("fix: %w", err)
	}
	for _, s := range steps {
		fmt.Printf("%s is too low: %s %s, needed %s\n", s.Limit, s.Sysctl, s.Old, s.New)
	}
	if len(steps) == 0 {
		fmt.Println("no sysctl is too low: nothing is raised")
	} else if err := limits.Raise(host, f.journal, steps, sayLine); err != nil {
		return fmt.Errorf("fix: %w", err)
	}
	rows = limits.Judge(host, d)
	for _, r := range limits.Refused(rows) {
		fmt.Printf("%s (%s) is too low and not raised: %s; do it by hand: %s\n", r.Limit, r.Where, strings.Join(nonEmpty(r.Manual,
			r.Note), "; "), r.Fix)
	}
	if len(steps) > 0 {
		fmt.Printf("\nthe old values are in %s; to put them back: connprof check --restore%s\n", f.journal, f.journalFlag())
		fmt.Printf("to keep the new ones beyond the next boot, put this into /etc/sysctl.d/90-connprof.conf:\n%s", limits.DropIn(steps))
	}
	return tooMany(d, rows)
}

func (f *checkFlags) journalFlag() string {
	if f.journal == limits.DefaultJournal {
		return ""
	}
	return " --journal " + f.journal
}

func nonEmpty(texts ...string) []string {
	var list []string
	for _, t := range texts {
		if t != "" {
			list = append(list, t)
		}
	}
	return list
}

func sayLine(line string) { fmt.Println(line) }

func (f *checkFlags) putBack() error {
	if err := limits.Restore(limits.Host{}, f.journal, sayLine); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}
