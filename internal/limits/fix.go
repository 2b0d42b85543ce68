package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/hostfile"
)

// Step is one sysctl that --fix would raise.
type Step struct {
	Limit, Sysctl, Old, New string
}

// Steps lists what --fix raises for the rows: what is too low, and no more.
func Steps(h Host, rows []Row) ([]Step, error) {
	var steps []Step
	for _, r := range rows {
		if r.Verdict != TooLow || r.sysctl == "" {
			continue
		}
		old, err := h.setting(r.sysctl)
		if err != nil {
			return nil, err
		}
		steps = append(steps, Step{Limit: r.Limit, Sysctl: r.sysctl, Old: old, New: r.value})
	}
	return steps, nil
}

// Refused lists the rows that are too low and that --fix does not raise; Row.Manual says why.
func Refused(rows []Row) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Verdict != TooLow || r.sysctl != "" })
}

// setting is the value of a sysctl, its fields apart by one blank.
func (h Host) setting(name string) (string, error) {
	text, err := h.text(sysctlPath(name))
	return strings.Join(strings.Fields(text), " "), err
}

func (h Host) set(name, value string) error {
	f, err := os.OpenFile(h.Root+sysctlPath(name), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("set %s to %s: /proc/sys is read-only here; run it outside the container", name, value)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("set %s to %s: permission denied; run it as root, in the host's first network namespace", name, value)
	case err != nil:
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}

// bootID changes with every boot.
func (h Host) bootID() (string, error) { return h.text("/proc/sys/kernel/random/boot_id") }

// namespaced tells whether each network namespace may have a value of its own. The kernel says so nowhere; for those of
// net. that all share it does no harm to believe it.
func namespaced(sysctl string) bool { return strings.HasPrefix(sysctl, "net.") }

func (h Host) home(sysctl string) uint64 {
	if namespaced(sysctl) {
		return h.netns()
	}
	return 0
}

// Raise writes the old values into the journal and then sets the new ones; tell gets a line about each. What was raised
// before an error stays in the journal, for Restore.
func Raise(h Host, path string, steps []Step, tell func(string)) error {
	o, err := h.openJournal(path, tell)
	if err != nil {
		return err
	}
	defer o.Close()
	for _, s := range steps {
		o.Content.add(s, h.home(s.Sysctl))
	}
	if err := o.Write(); err != nil {
		return fmt.Errorf("keep the old values: %w", err)
	}
	for _, s := range steps {
		if err := h.raise(o, s, tell); err != nil {
			return errors.Join(err, h.forgetUntouched(o))
		}
	}
	return nil
}

type openedJournal = hostfile.Opened[journal]

// openJournal opens the journal to go on with: an old one, unless the host was booted since, or a new one.
func (h Host) openJournal(path string, tell func(string)) (*openedJournal, error) {
	boot, err := h.bootID()
	if err != nil {
		return nil, err
	}
	o, err := journalAt(path).Open()
	if err != nil {
		return nil, fmt.Errorf("keep the old values: %w", err)
	}
	if o.Found && o.Content.BootID == boot {
		return o, nil
	}
	if o.Found {
		tell("the journal is from before the last boot: its values went with that boot, and it is replaced")
	}
	o.Content = journal{Schema: journalSchema, BootID: boot}
	return o, nil
}

// add notes a step before it is made. The value from before the first step is kept as long as only connprof raised it.
func (j *journal) add(s Step, netns uint64) {
	c := j.find(s.Sysctl, netns)
	if c == nil {
		j.Changes = append(j.Changes, change{Sysctl: s.Sysctl, Netns: netns})
		c = &j.Changes[len(j.Changes)-1]
	}
	if s.Old != c.Old && !slices.Contains(c.Wrote, s.Old) {
		c.Old, c.Wrote = s.Old, nil
	}
	if !slices.Contains(c.Wrote, s.New) {
		c.Wrote = append(c.Wrote, s.New)
	}
}

func (h Host) raise(o *openedJournal, s Step, tell func(string)) error {
	if err := h.set(s.Sysctl, s.New); err != nil {
		return err
	}
	now, err := h.setting(s.Sysctl)
	if err != nil {
		return err
	}
	tell(fmt.Sprintf("%s: %s -> %s", s.Sysctl, s.Old, now))
	if now == s.New {
		return nil
	}
	// The kernel made something else of it, and Restore has to know that value as connprof's.
	c := o.Content.find(s.Sysctl, h.home(s.Sysctl))
	c.Wrote = append(c.Wrote, now)
	return o.Write()
}

// forgetUntouched takes out of the journal what still has its old value.
func (h Host) forgetUntouched(o *openedJournal) error {
	o.Content.Changes = slices.DeleteFunc(o.Content.Changes, func(c change) bool {
		now, err := h.setting(c.Sysctl)
		return err == nil && c.Netns == h.home(c.Sysctl) && now == c.Old
	})
	return o.Write()
}

// ErrNothingToRestore says that there is no journal.
var ErrNothingToRestore = errors.New("nothing to restore")

// Restore puts back what Raise has changed, unless somebody has set it since; tell gets a line about each. What it
// cannot put back stays in the journal, and is the error.
func Restore(h Host, path string, tell func(string)) error {
	if journalAt(path).Untouched() {
		return nothingToRestore(path)
	}
	o, err := journalAt(path).Open()
	if err != nil {
		return err
	}
	defer o.Close()
	if !o.Found {
		return nothingToRestore(path)
	}
	boot, err := h.bootID()
	if err != nil {
		return err
	}
	if boot != o.Content.BootID {
		tell("the host was booted since: the kernel's own values are back, and nothing is left to restore")
		o.Content.Changes = nil
		return o.Write()
	}
	return h.restoreAll(o, tell)
}

func nothingToRestore(path string) error {
	return fmt.Errorf("%w: there is no journal %s, so nothing is raised, or all is back; --journal names another one",
		ErrNothingToRestore, path)
}

func (h Host) restoreAll(o *openedJournal, tell func(string)) error {
	var kept []change
	var errs []error
	for _, c := range slices.Backward(o.Content.Changes) {
		line, err := h.restore(c)
		if err != nil {
			kept, errs = append(kept, c), append(errs, err)
			continue
		}
		tell(line)
	}
	slices.Reverse(kept)
	o.Content.Changes = kept
	return errors.Join(append(errs, o.Write())...)
}

// restore puts one sysctl back and says what it did.
func (h Host) restore(c change) (string, error) {
	if c.Netns != h.home(c.Sysctl) {
		if !h.netnsLives(c.Netns) {
			return fmt.Sprintf("%s: went with its network namespace", c.Sysctl), nil
		}
		return "", fmt.Errorf("%s was raised in another network namespace, net:[%d]; run --restore in that one", c.Sysctl, c.Netns)
	}
	now, err := h.setting(c.Sysctl)
	switch {
	case err != nil:
		return "", err
	case now == c.Old:
		return fmt.Sprintf("%s: %s already", c.Sysctl, now), nil
	case !slices.Contains(c.Wrote, now):
		return fmt.Sprintf("%s: left at %s, which somebody has set since (connprof set %s; before that it was %s)", c.Sysctl, now,
			c.Wrote[len(c.Wrote)-1], c.Old), nil
	}
	if err := h.set(c.Sysctl, c.Old); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s -> %s", c.Sysctl, now, c.Old), nil
}

// netnsLives tells whether a process or a name (ip netns) still holds a network namespace.
func (h Host) netnsLives(ino uint64) bool {
	for _, pattern := range []string{"/proc/[0-9]*/ns/net", "/run/netns/*"} {
		paths, _ := filepath.Glob(h.Root + pattern)
		if slices.ContainsFunc(paths, func(path string) bool { return inode(path) == ino }) {
			return true
		}
	}
	return false
}

// DropIn is what a file in /etc/sysctl.d has to hold for the steps to last beyond the next boot.
func DropIn(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s = %s\n", s.Sysctl, s.New)
	}
	return b.String()
}
