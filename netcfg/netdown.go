package netcfg

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DownOptions says which aliases to remove.
type DownOptions struct {
	Device  string // all interfaces if empty
	Journal string // the file, such as DefaultJournal
	DryRun  bool
}

// Downed is what became of the aliases of one Up.
type Downed struct {
	Device                 string // its name now, or the one in the journal
	Removed, Gone, Foreign []Alias
	Why                    string // why none was removed, else empty
	Kept                   bool   // in the journal
}

func (d Downed) String() string {
	var parts []string
	name := Printable(d.Device)
	for _, part := range []struct {
		list []Alias
		text string
	}{
		{d.Removed, "%s removed from " + name + ": %s"},
		{d.Gone, "%s not on " + name + ": %s"},
		{d.Foreign, "%s not removed, as changed or added anew by somebody else since: %s"},
	} {
		if len(part.list) > 0 {
			parts = append(parts, fmt.Sprintf(part.text, counted(len(part.list)), span(part.list)))
		}
	}
	if d.Why != "" {
		parts = append(parts, name+": "+d.Why)
	}
	return strings.Join(parts, "; ")
}

// Down removes what the journal names, of one interface or of all, where it still is as Up added it, and strikes it off
// the journal. Without anything to remove it does nothing, and needs no privileges. What could not be removed stays in
// the journal. With DryRun, it only tells.
func Down(o DownOptions) ([]Downed, error) {
	at, err := here()
	if err != nil {
		return nil, err
	}
	j, err := readJournal(o.Journal)
	if err != nil || !slices.ContainsFunc(j.Entries, func(e entry) bool { return e.on(o.Device, at) }) {
		return nil, err
	}
	if o.DryRun {
		list, _, err := j.remove(o.Device, at, wouldDelete)
		return list, err
	}
	if err := checkCapabilities(netAdmin); err != nil {
		return nil, err
	}
	opened, err := openJournal(o.Journal)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	list, left, err := opened.Content.remove(o.Device, at, deleteAliases)
	if len(left) < len(opened.Content.Entries) {
		opened.Content.Entries = left
		err = errors.Join(err, opened.Write())
	}
	return list, err
}

// remove is Down with a way to delete; it gives out what stays in the journal too. The last added go first: the first
// addresses of a subnet hold the others.
func (j journal) remove(dev string, at place, del func(int, []Alias) (deletion, error)) (list []Downed, left []entry, err error) {
	for _, e := range slices.Backward(j.Entries) {
		if err != nil || !e.on(dev, at) {
			left = append(left, e)
			continue
		}
		var d Downed
		if d, err = e.remove(at, del); err != nil || d.Kept {
			left = append(left, e)
		}
		if d.String() != "" { // else it failed before anything was done
			list = append(list, d)
		}
	}
	slices.Reverse(left)
	return list, left, err
}

func (e entry) remove(at place, del func(int, []Alias) (deletion, error)) (Downed, error) {
	name, away, err := e.device(at)
	d := Downed{Device: name}
	switch {
	case err != nil:
		return d, err
	case away != "":
		d.Why = counted(len(e.Aliases)) + " (" + span(e.Aliases) + ") " + awayTexts[away]
		d.Kept = away == otherNamespace
		return d, nil
	}
	got, err := del(e.Index, e.Aliases)
	d.Removed, d.Gone, d.Foreign = got.deleted, got.gone, got.foreign
	return d, err
}

var awayTexts = map[string]string{
	restarted:      "went with a restart of the host; struck off the journal",
	vanished:       "went with the interface; struck off the journal",
	otherNamespace: "are in another network namespace; run netdown there, or restart the host",
}

// device is an entry's interface by its present name, or by the one in the journal and where it is.
func (e entry) device(at place) (name, away string, err error) {
	switch {
	case e.Boot != at.boot:
		return e.Device, restarted, nil
	case e.Namespace != at.namespace:
		return e.Device, otherNamespace, nil
	}
	link, err := netlink.LinkByIndex(e.Index)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) || errors.Is(err, unix.ENODEV) {
		return e.Device, vanished, nil
	}
	if err != nil {
		return e.Device, "", fmt.Errorf("find interface %s (index %d): %w", Printable(e.Device), e.Index, err)
	}
	return link.Attrs().Name, "", nil
}

// on tells whether an entry is of that interface, by the name it had or by the one it has now.
func (e entry) on(dev string, at place) bool {
	now, _, _ := e.device(at)
	return dev == "" || dev == e.Device || dev == now
}

// wouldDelete tells what deleteAliases would do.
func wouldDelete(index int, aliases []Alias) (d deletion, err error) {
	present, err := listAddresses()
	if err != nil {
		return d, err
	}
	for _, a := range slices.Backward(aliases) {
		state, _ := stateOf(a, index, present)
		d.note(a, state)
	}
	return d, nil
}

// Listed is one alias of the journal and what the kernel says of it.
type Listed struct {
	Device string // its name now, or the one in the journal
	Alias
	State string
	Added time.Time
}

// The states of an alias.
const (
	there          = "there"
	missing        = "not there"
	changed        = "changed by others"
	vanished       = "gone with the interface"
	restarted      = "gone with a restart"
	otherNamespace = "in another network namespace"
)

// List is all aliases of the journal, of one interface or of all if dev is empty. It needs no privileges.
func List(path, dev string) ([]Listed, error) {
	at, err := here()
	if err != nil {
		return nil, err
	}
	j, err := readJournal(path)
	if err != nil {
		return nil, err
	}
	present, err := listAddresses()
	if err != nil {
		return nil, err
	}
	var list []Listed
	for _, e := range j.Entries {
		if !e.on(dev, at) {
			continue
		}
		name, state, err := e.device(at)
		if err != nil {
			return nil, err
		}
		for _, a := range e.Aliases {
			one := Listed{name, a, state, e.Added}
			if state == "" {
				one.State, _ = stateOf(a, e.Index, present)
			}
			list = append(list, one)
		}
	}
	return list, nil
}

// stateOf is the state of an alias of the interface with that index, and which of the addresses it is.
func stateOf(alias Alias, index int, present []address) (state string, i int) {
	state = missing
	for i, a := range present {
		if a.is(index, alias) {
			return there, i
		}
		if a.prefix.Addr() == alias.Address.Addr() {
			state = changed
		}
	}
	return state, -1
}
