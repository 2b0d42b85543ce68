package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/privilege"
)

// UpOptions says which aliases to add.
type UpOptions struct {
	Device  string
	Wanted  []netip.Prefix  // of Consecutive or FromList
	Journal string          // the file, such as DefaultJournal
	DryRun  bool            // does all but write the journal and add addresses; it asks the neighbours as well
	Stop    <-chan struct{} // closed: what was added is taken back

	afterAdding func(n int) // called once the nth alias is there: a test's chance to have something happen in the middle
}

// Upped is what Up added, or would add.
type Upped struct {
	Device  string // the interface's own name
	Aliases []Alias
}

func (u Upped) String() string {
	text := fmt.Sprintf("%s to %s: %s", counted(len(u.Aliases)), Printable(u.Device), span(u.Aliases))
	var labels []string // IPv6 has none
	for _, a := range u.Aliases {
		if a.Label != "" {
			labels = append(labels, Printable(a.Label))
		}
	}
	if n := len(labels); n > 0 {
		text += ", labelled " + labels[0]
		if n > 1 {
			text += " to " + labels[n-1]
		}
	}
	return text
}

// Up adds the aliases of a plan to an interface, all or none, after it has asked the neighbours for three seconds at
// most whether somebody has one of them. Every address is in the journal before the first is added. It needs
// CAP_NET_ADMIN and CAP_NET_RAW.
func Up(o UpOptions) (Upped, error) {
	if err := checkCapabilities(netAdmin, netRaw); err != nil {
		return Upped{}, err
	}
	at, err := here()
	if err != nil {
		return Upped{}, err
	}
	d, err := findDevice(o.Device)
	if err != nil {
		return Upped{}, err
	}
	if o.DryRun {
		j, err := readJournal(o.Journal)
		if err != nil {
			return Upped{}, err
		}
		return d.proven(o, j.nextLabel(at, d.index))
	}
	j, err := openJournal(o.Journal)
	if err != nil {
		return Upped{}, err
	}
	defer j.Close()
	u, err := d.proven(o, j.Content.nextLabel(at, d.index))
	if err != nil {
		return u, err
	}
	return u, d.add(u.Aliases, j, at, o)
}

// proven is the plan with labels, once it is known that nobody has the addresses.
func (d device) proven(o UpOptions, nextLabel int) (Upped, error) {
	families := byFamily(o.Wanted)
	for _, wanted := range families {
		if !wanted[0].Addr().Is6() {
			continue
		}
		if err := d.checkIPv6(); err != nil {
			return Upped{}, err
		}
	}
	if err := d.checkFree(o.Wanted); err != nil {
		return Upped{}, err
	}
	u := Upped{d.name, aliasesOf(o.Wanted, d.name, nextLabel)}
	for _, wanted := range families {
		if err := d.prove(wanted, o.Stop); err != nil {
			return u, err
		}
	}
	return u, nil
}

// prove asks the neighbours for addresses of one family.
func (d device) prove(wanted []netip.Prefix, stop <-chan struct{}) error {
	w, err := openWire(d, protocolOf(wanted[0].Addr()))
	if err != nil {
		return err
	}
	defer w.close()
	return w.prove(wanted, stop)
}

// add notes the aliases in the journal, adds and announces them, or takes back what it has done.
func (d device) add(aliases []Alias, j *openedJournal, at place, o UpOptions) error {
	before := j.Content.Entries
	j.Content.Entries = append(before[:len(before):len(before)], entry{Boot: at.boot, Namespace: at.namespace, Device: d.name,
		Index: d.index, MAC: d.mac.String(), Added: time.Now().UTC().Truncate(time.Second), Aliases: aliases})
	if err := j.Write(); err != nil {
		return fmt.Errorf("%w; nothing was added", err)
	}
	added, err := d.addAll(aliases, o)
	if err == nil {
		return nil
	}
	// Only what was added here: an address that was in the way is not ours, whatever its label.
	if _, undo := deleteAliases(d.index, aliases[:added]); undo != nil {
		return fmt.Errorf("%w; and then: %w; run connprof netdown", err, undo)
	}
	j.Content.Entries = before
	if undo := j.Write(); undo != nil {
		return fmt.Errorf("%w; all addresses were taken back, and then: %w; run connprof netdown", err, undo)
	}
	return fmt.Errorf("%w; %s", err, takenBack(added))
}

func takenBack(added int) string {
	switch added {
	case 0:
		return "nothing was added"
	case 1:
		return "the 1 address already added was taken back"
	}
	return fmt.Sprintf("the %d addresses already added were taken back", added)
}

// addAll tells how many aliases it has added, also when it fails.
func (d device) addAll(aliases []Alias, o UpOptions) (added int, err error) {
	for i, a := range aliases {
		select {
		case <-o.Stop:
			return i, errStopped
		default:
		}
		if err := addAlias(d.index, a); err != nil {
			return i, fmt.Errorf("add %s to %s: %w%s", a.Address, Printable(d.name), err, addFixes.of(err))
		}
		if o.afterAdding != nil {
			o.afterAdding(i + 1)
		}
	}
	for _, wanted := range byFamily(o.Wanted) {
		if err := d.announce(wanted); err != nil {
			return len(aliases), err
		}
	}
	return len(aliases), nil
}

// announce tells the neighbours of addresses of one family.
func (d device) announce(added []netip.Prefix) error {
	w, err := openWire(d, protocolOf(added[0].Addr()))
	if err != nil {
		return err
	}
	defer w.close()
	return w.announce(added)
}

// addFixes are what to do about the kernel's refusals that have a cause of their own.
var addFixes = fixes{
	unix.EEXIST: " (somebody has added it meanwhile); try again with other addresses",
	unix.ENODEV: " (the interface has vanished meanwhile)",
	unix.EPERM:  "; run as root with CAP_NET_ADMIN in the namespace of the interface",
	unix.EACCES: " (IPv6 was switched off on the interface meanwhile)",
}

// fixes are what to say after an error of the kernel.
type fixes map[unix.Errno]string

// of is empty for an error that explains itself.
func (f fixes) of(err error) string {
	var number unix.Errno
	if errors.As(err, &number) {
		return f[number]
	}
	return ""
}

// What aliases need.
var (
	netAdmin = privilege.Need{Cap: capability.CAP_NET_ADMIN, Purpose: "to add and remove addresses"}
	netRaw   = privilege.Need{Cap: capability.CAP_NET_RAW, Purpose: "to ask the neighbours for them"}
)

func checkCapabilities(needed ...privilege.Need) error {
	lacking, err := privilege.Lacking(needed...)
	if err == nil && len(lacking) > 0 {
		err = fmt.Errorf("this needs root: it lacks %s; run it with sudo", strings.Join(lacking, " and "))
	}
	return err
}
