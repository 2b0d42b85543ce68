package netcfg

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/hostfile"
)

// DefaultJournal is where Up notes what it adds. /var/lib outlives a restart, as a note must that is to be recognised as
// outdated; the directory is made when it is needed and removed when it is empty.
const DefaultJournal = "/var/lib/connprof/aliases.json"

const (
	journalSchema = "connprof.aliases/1"
	journalNote   = "alias addresses that connprof netup added; connprof netdown removes them and this file"
)

// journal is the file. It names every address before the first of them is added, so that no crash leaves one unnamed.
type journal struct {
	Schema  string  `json:"schema"`
	Note    string  `json:"note"`
	Entries []entry `json:"entries"`
}

// journalAt is the journal with that path.
func journalAt(path string) hostfile.Journal[journal] {
	return hostfile.Journal[journal]{Path: path, Default: DefaultJournal, Schema: journalSchema, Perm: 0o644,
		Empty: func(j journal) bool { return len(j.Entries) == 0 }, Check: journal.check,
		Writer: "connprof netup", Undo: "netdown", Repair: "put a good copy in its place, or remove by hand what ip addr " +
			"shows with labels DEV:cpN and then the file"}
}

// openedJournal is a journal that nobody else may change until it is closed.
type openedJournal = hostfile.Opened[journal]

// openJournal locks and reads a journal and makes sure that it can be written.
func openJournal(path string) (*openedJournal, error) {
	o, err := journalAt(path).Open()
	if err != nil {
		return nil, err
	}
	o.Content.Schema, o.Content.Note = journalSchema, journalNote
	return o, nil
}

// readJournal reads and checks a journal; one that does not exist is empty.
func readJournal(path string) (journal, error) {
	j, _, err := journalAt(path).Read()
	return j, err
}

// entry is one Up. An interface's addresses end with its network namespace, which a restart ends at the latest; its
// index stays the same when it is renamed. Name and MAC are for those who read the file.
type entry struct {
	Boot      string    `json:"boot"`
	Namespace uint64    `json:"network_namespace"`
	Device    string    `json:"device"`
	Index     int       `json:"index"`
	MAC       string    `json:"mac"`
	Added     time.Time `json:"added"`
	Aliases   []Alias   `json:"aliases"`
}

// place is where this process is: which boot of the host, and which network namespace.
type place struct {
	boot      string
	namespace uint64
}

func here() (place, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return place{}, fmt.Errorf("tell this boot from others: %w (is /proc mounted?)", err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return place{}, fmt.Errorf("stat /proc/thread-self/ns/net: %w (is /proc mounted?)", err)
	}
	return place{strings.TrimSpace(string(boot)), st.Ino}, nil
}

// check refuses what Up cannot have written.
func (j journal) check() error {
	for i, e := range j.Entries {
		if e.Boot == "" || e.Device == "" || e.Index <= 0 || len(e.Aliases) == 0 {
			return fmt.Errorf("entry %d lacks its boot, device, index or aliases", i+1)
		}
		if _, err := net.ParseMAC(e.MAC); err != nil {
			return fmt.Errorf("entry %d has the MAC %q", i+1, e.MAC)
		}
		for _, a := range e.Aliases {
			if !a.Address.IsValid() || (a.Address.Addr().Is4() && tail(a.Label) == "") {
				return fmt.Errorf("entry %d has an alias without its address or label", i+1)
			}
		}
	}
	return nil
}

// nextLabel is the first number that no label of the interface has had; labels of several Ups stay apart.
func (j journal) nextLabel(at place, index int) (next int) {
	for _, e := range j.Entries {
		if e.Boot != at.boot || e.Namespace != at.namespace || e.Index != index {
			continue
		}
		for _, a := range e.Aliases {
			var n int
			if _, err := fmt.Sscanf(tail(a.Label), "cp%d", &n); err == nil {
				next = max(next, n+1)
			}
		}
	}
	return next
}

// aliasesOf is the addresses of a plan with their labels.
func aliasesOf(wanted []netip.Prefix, device string, next int) []Alias {
	var list []Alias
	for i, p := range wanted {
		a := Alias{Address: p}
		if p.Addr().Is4() {
			a.Label = label(device, next+i)
		}
		list = append(list, a)
	}
	return list
}
