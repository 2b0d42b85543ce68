package limits

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lowHost has two sysctls that are too low for a million, one of them with a value a namespace.
func lowHost(t *testing.T) Host {
	return madeUp(t, map[string]string{"/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999", "/proc/sys/fs/nr_open": "1000"})
}

const (
	nrOpen    = "/proc/sys/fs/nr_open"
	portsFile = "/proc/sys/net/ipv4/ip_local_port_range"
)

func (h Host) mustBe(t *testing.T, path, want string) {
	t.Helper()
	if text, err := h.text(path); text != want || err != nil {
		t.Errorf("%s is %q, %v, want %q", path, text, err, want)
	}
}

// setBy writes a sysctl as somebody else.
func (h Host) setBy(t *testing.T, path, value string) {
	t.Helper()
	writeFile(t, filepath.Join(h.Root, path), value)
}

// fix is --fix for so many connections.
func fix(t *testing.T, h Host, journal string, conns uint64) ([]string, error) {
	t.Helper()
	d := million()
	d.Conns = conns
	steps, err := Steps(h, Judge(h, d))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	err = Raise(h, journal, steps, func(line string) { said = append(said, line) })
	return said, err
}

func restored(h Host, journal string) (string, error) {
	var said []string
	err := Restore(h, journal, func(line string) { said = append(said, line) })
	return strings.Join(said, "\n"), err
}

func gone(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

func newJournal(t *testing.T) string { return filepath.Join(t.TempDir(), "limits.json") }

func TestFixRaisesWhatIsTooLowAndRestorePutsItBack(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	said, err := fix(t, h, journal, 1_000_000)
	want := []string{"net.ipv4.ip_local_port_range: 32768 60999 -> 15536 65535", "fs.nr_open: 1000 -> 1000017"}
	if err != nil || !slices.Equal(said, want) {
		t.Fatalf("%q, %v", said, err)
	}
	h.mustBe(t, nrOpen, "1000017")
	h.mustBe(t, portsFile, "15536 65535")
	if !Fits(Judge(h, million())) {
		t.Error("a million do not fit after the fix")
	}
	if said, err := restored(h, journal); err != nil || !strings.Contains(said, "fs.nr_open: 1000017 -> 1000") {
		t.Errorf("%q, %v", said, err)
	}
	h.mustBe(t, nrOpen, "1000")
	h.mustBe(t, portsFile, "32768 60999")
	gone(t, journal)
}

func TestFixTwiceRaisesOnceAndKeepsTheFirstValues(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	for _, conns := range []uint64{500_000, 500_000, 1_000_000} {
		if _, err := fix(t, h, journal, conns); err != nil {
			t.Fatal(err)
		}
	}
	h.mustBe(t, nrOpen, "1000017")
	if steps, err := Steps(h, Judge(h, million())); len(steps) > 0 || err != nil {
		t.Errorf("still to be raised: %v, %v", steps, err)
	}
	if _, err := restored(h, journal); err != nil {
		t.Fatal(err)
	}
	h.mustBe(t, nrOpen, "1000")
	h.mustBe(t, portsFile, "32768 60999")
}

func TestRestoreTwiceHasNothingToDoAndSaysSo(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Fatal(err)
	}
	if _, err := restored(h, journal); err != nil {
		t.Fatal(err)
	}
	_, err := restored(h, journal)
	if !errors.Is(err, ErrNothingToRestore) || !strings.Contains(err.Error(), journal) {
		t.Errorf("got %v", err)
	}
	h.mustBe(t, nrOpen, "1000")
}

func TestWhatSomebodySetSinceIsLeftAlone(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Fatal(err)
	}
	h.setBy(t, nrOpen, "7777777")
	said, err := restored(h, journal)
	if err != nil || !strings.Contains(said, "fs.nr_open: left at 7777777, which somebody has set since") {
		t.Errorf("%q, %v", said, err)
	}
	h.mustBe(t, nrOpen, "7777777")
	h.mustBe(t, portsFile, "32768 60999")
	gone(t, journal)
}

// Somebody lowers what connprof raised, and connprof raises it again: theirs is then the value to go back to.
func TestFixAfterSomebodyElseGoesBackToTheirValue(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	for _, set := range []string{"1000", "2000"} {
		h.setBy(t, nrOpen, set)
		if _, err := fix(t, h, journal, 1_000_000); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := restored(h, journal); err != nil {
		t.Fatal(err)
	}
	h.mustBe(t, nrOpen, "2000")
}

func TestAfterABootNothingIsOverwritten(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Fatal(err)
	}
	// After the boot a drop-in happens to set the very value that connprof had written.
	h.setBy(t, "/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555")
	said, err := restored(h, journal)
	if err != nil || !strings.Contains(said, "booted since") {
		t.Errorf("%q, %v", said, err)
	}
	h.mustBe(t, nrOpen, "1000017")
	gone(t, journal)
}

func TestFixAfterABootStartsAnew(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Fatal(err)
	}
	h.setBy(t, "/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555")
	h.setBy(t, nrOpen, "3000")
	h.setBy(t, portsFile, "30000 60000")
	if said, err := fix(t, h, journal, 1_000_000); err != nil || !strings.Contains(said[0], "before the last boot") {
		t.Fatalf("%q, %v", said, err)
	}
	if _, err := restored(h, journal); err != nil {
		t.Fatal(err)
	}
	h.mustBe(t, nrOpen, "3000")
	h.mustBe(t, portsFile, "30000 60000")
}

// A crash right after the journal was written, or between two changes, leaves a journal of changes that were not made.
func TestACrashBetweenTheChangesIsRepaired(t *testing.T) {
	for made := range 3 {
		h, journal := lowHost(t), newJournal(t)
		steps, err := Steps(h, Judge(h, million()))
		if err != nil || len(steps) != 2 {
			t.Fatalf("%v, %v", steps, err)
		}
		if _, err := fix(t, h, journal, 1_000_000); err != nil {
			t.Fatal(err)
		}
		for _, s := range steps[made:] {
			h.setBy(t, sysctlPath(s.Sysctl), s.Old)
		}
		if said, err := restored(h, journal); err != nil || strings.Contains(said, "left at") {
			t.Errorf("after %d changes: %q, %v", made, said, err)
		}
		h.mustBe(t, nrOpen, "1000")
		h.mustBe(t, portsFile, "32768 60999")
		gone(t, journal)
	}
}

func TestAChangeThatFailsKeepsTheOthersInTheJournal(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	steps, err := Steps(h, Judge(h, million()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(h.Root, nrOpen)); err != nil { // the second of the two
		t.Fatal(err)
	}
	if err := Raise(h, journal, steps, func(string) {}); err == nil || !strings.Contains(err.Error(), "fs.nr_open") {
		t.Errorf("got %v", err)
	}
	h.mustBe(t, portsFile, "15536 65535")
	h.setBy(t, nrOpen, "1000")
	if _, err := restored(h, journal); err != nil {
		t.Error(err)
	}
	h.mustBe(t, portsFile, "32768 60999")
}

func TestASettingOfAnotherNamespaceIsNotPutBackHere(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Fatal(err)
	}
	// The namespace is the inode of this file; a process elsewhere still lives in the old one.
	old, process := filepath.Join(h.Root, "/proc/thread-self/ns/net"), filepath.Join(h.Root, "/proc/42/ns/net")
	if err := errors.Join(os.MkdirAll(filepath.Dir(process), 0o755), os.Rename(old, process), os.WriteFile(old, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	_, err := restored(h, journal)
	if err == nil || !strings.Contains(err.Error(), "in another network namespace") {
		t.Errorf("got %v", err)
	}
	h.mustBe(t, nrOpen, "1000") // which all namespaces share
	h.mustBe(t, portsFile, "15536 65535")
	if err := os.Rename(process, filepath.Join(h.Root, "/gone")); err != nil {
		t.Fatal(err)
	}
	if said, err := restored(h, journal); err != nil || !strings.Contains(said, "went with its network namespace") {
		t.Errorf("%q, %v", said, err)
	}
	gone(t, journal)
}

// someJournal is a file as connprof wrote it from the first version on.
const someJournal = `{
  "schema": "connprof.limits/1",
  "boot_id": "11111111-2222-3333-4444-555555555555",
  "changes": [
    {
      "sysctl": "net.ipv4.ip_local_port_range",
      "netns": NETNS,
      "old": "32768 60999",
      "wrote": [
        "15536 65535"
      ]
    },
    {
      "sysctl": "fs.nr_open",
      "old": "1000",
      "wrote": [
        "1000017"
      ]
    }
  ]
}
`

func TestTheFormOfTheJournalStays(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(someJournal, "NETNS", fmt.Sprint(h.netns()), 1)
	if b, err := os.ReadFile(journal); err != nil || string(b) != want {
		t.Errorf("written: %s, %v", b, err)
	}
	writeFile(t, journal, want)
	if said, err := restored(h, journal); err != nil || !strings.Contains(said, "fs.nr_open: 1000017 -> 1000") {
		t.Errorf("%q, %v", said, err)
	}
}

func TestABadJournalIsRefusedAndKept(t *testing.T) {
	const head = `{"schema": "connprof.limits/1", "boot_id": "11111111-2222-3333-4444-555555555555", "changes": [`
	for name, text := range map[string]string{
		"empty":           "",
		"cut off":         head + `{"sysctl": "fs.nr_`,
		"no JSON":         "fs.nr_open = 1000\n",
		"two":             head + "]}" + head + "]}",
		"another schema":  `{"schema": "connprof.netup/1", "changes": []}`,
		"a recording":     `{"schema": "connprof.recording/1", "host": {}}`,
		"another sysctl":  head + `{"sysctl": "kernel.core_pattern", "old": "1", "wrote": ["2"]}]}`,
		"another file":    head + `{"sysctl": "../../etc/passwd", "old": "1", "wrote": ["2"]}]}`,
		"no sysctl":       head + `{"sysctl": "", "old": "1", "wrote": ["2"]}]}`,
		"no number":       head + `{"sysctl": "fs.nr_open", "old": "|/bin/sh", "wrote": ["2"]}]}`,
		"no value":        head + `{"sysctl": "fs.nr_open", "old": "", "wrote": ["2"]}]}`,
		"nothing written": head + `{"sysctl": "fs.nr_open", "old": "1", "wrote": []}]}`,
		"another type":    `{"schema": 5}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := lowHost(t)
			journal := writeFile(t, newJournal(t), text)
			_, errFix := fix(t, h, journal, 1_000_000)
			_, errRestore := restored(h, journal)
			for _, err := range []error{errFix, errRestore} {
				if err == nil || !strings.Contains(err.Error(), journal+" is ") || !strings.Contains(err.Error(), "mv "+journal) {
					t.Errorf("got %v", err)
				}
			}
			h.mustBe(t, nrOpen, "1000")
			if b, err := os.ReadFile(journal); err != nil || string(b) != text {
				t.Errorf("the journal is now %q, %v", b, err)
			}
		})
	}
}

func TestOneAtATime(t *testing.T) {
	h, journal := lowHost(t), newJournal(t)
	o, err := journalAt(journal).Open()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, journal, "{}")
	_, errFix := fix(t, h, journal, 1_000_000)
	_, errRestore := restored(h, journal)
	for _, err := range []error{errFix, errRestore} {
		if err == nil || !strings.Contains(err.Error(), "another connprof") || !strings.Contains(err.Error(), "wait") {
			t.Errorf("got %v", err)
		}
	}
	h.mustBe(t, nrOpen, "1000")
	o.Close()
	if err := os.Remove(journal); err != nil {
		t.Fatal(err)
	}
	if _, err := fix(t, h, journal, 1_000_000); err != nil {
		t.Errorf("after it: %v", err)
	}
}

func TestWithoutAJournalNothingIsChanged(t *testing.T) {
	h := lowHost(t)
	file := writeFile(t, filepath.Join(t.TempDir(), "file"), "")
	for _, journal := range []string{"/no/such/place/limits.json", file + "/limits.json", "/proc/limits.json", t.TempDir()} {
		_, err := fix(t, h, journal, 1_000_000)
		if err == nil || !strings.Contains(err.Error(), "--journal") {
			t.Errorf("%s: got %v", journal, err)
		}
		h.mustBe(t, nrOpen, "1000")
		h.mustBe(t, portsFile, "32768\t60999")
	}
}

func TestTheDropInHoldsTheNewValues(t *testing.T) {
	steps, err := Steps(lowHost(t), Judge(lowHost(t), million()))
	if got := DropIn(steps); err != nil || got != "net.ipv4.ip_local_port_range = 15536 65535\nfs.nr_open = 1000017\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWhatIsNotRaisedSaysWhy(t *testing.T) {
	h := madeUp(t, map[string]string{"/proc/self/limits": limitsFile("10", "20", "99"), "/proc/meminfo": "MemAvailable: 5 kB\nSlab: 1 kB\n",
		"/sys/fs/cgroup/memory/box/memory.limit_in_bytes": "2000000", nrOpen: "1000"})
	var names []string
	for _, r := range Refused(Judge(h, million())) {
		names = append(names, r.Limit)
		if r.Manual == "" || r.Fix == "" {
			t.Errorf("%+v", r)
		}
	}
	if got := strings.Join(names, ", "); got != "nofile (hard), memory, memory cgroup" {
		t.Errorf("refused: %s", got)
	}
}
