package limits

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/hostfile"
)

// DefaultJournal is where --fix writes down the old values.
const DefaultJournal = "/var/lib/connprof/limits.json"

const journalSchema = "connprof.limits/1"

// journal is what --fix has changed since the host was booted. It is written before the first change.
type journal struct {
	Schema  string   `json:"schema"`
	BootID  string   `json:"boot_id"` // after another boot the kernel's own values are back
	Changes []change `json:"changes"`
}

// change is one sysctl that was raised, perhaps more than once.
type change struct {
	Sysctl string `json:"sysctl"`
	// Netns is the inode number of the network namespace it was changed in, for a sysctl that each has its own of.
	Netns uint64 `json:"netns,omitempty"`
	Old   string `json:"old"`
	// Wrote is every value given to it: a value that is none of these is somebody else's.
	Wrote []string `json:"wrote"`
}

// find is the change of a sysctl in a namespace, nil for none.
func (j *journal) find(sysctl string, netns uint64) *change {
	for i := range j.Changes {
		if c := &j.Changes[i]; c.Sysctl == sysctl && c.Netns == netns {
			return c
		}
	}
	return nil
}

// journalAt is the journal with that path.
func journalAt(path string) hostfile.Journal[journal] {
	return hostfile.Journal[journal]{Path: path, Default: DefaultJournal, Schema: journalSchema, Perm: 0o600,
		Empty: func(j journal) bool { return len(j.Changes) == 0 }, Check: journal.check,
		Writer: "connprof check --fix", Undo: "check --restore",
		Repair: "look what it holds and move it away: mv " + path + " " + path + ".bad"}
}

// check refuses what cannot be connprof's.
func (j journal) check() error {
	for _, c := range j.Changes {
		if problem := c.problem(); problem != "" {
			return errors.New(problem)
		}
	}
	return nil
}

// problem says why a change cannot be connprof's: what root writes must not come from anybody's file.
func (c *change) problem() string {
	if !slices.ContainsFunc(limits, func(l limit) bool { return l.sysctl != "" && l.sysctl == c.Sysctl }) {
		return fmt.Sprintf("it names %q, which connprof never changes", c.Sysctl)
	}
	if len(c.Wrote) == 0 {
		return fmt.Sprintf("it does not say what %s was set to", c.Sysctl)
	}
	for _, value := range append([]string{c.Old}, c.Wrote...) {
		if strings.Trim(value, "0123456789 ") != "" || strings.TrimSpace(value) == "" {
			return fmt.Sprintf("%q is no value of %s", value, c.Sysctl)
		}
	}
	return ""
}

// inode is a file's inode number, 0 where it cannot be had.
func inode(path string) uint64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0
	}
	return st.Ino
}
