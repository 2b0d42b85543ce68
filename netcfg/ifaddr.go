package netcfg

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ifaProto is IFA_PROTO of include/uapi/linux/if_addr.h (47f0bd503210, 5.18): who added an address. Older kernels ignore it.
const ifaProto = 11

// aliasProto is connprof's IFA_PROTO. Newer `ip addr` shows it as "proto 0x63".
const aliasProto = 'c'

// address is one address of this namespace, as the kernel lists it.
type address struct {
	index  int
	prefix netip.Prefix
	label  string // IPv4 only
	flags  uint32 // IFA_F_*
	proto  uint8  // IFA_PROTO, 0 before 5.18
}

// where names an address's interface and label.
func (a address) where() string {
	name := fmt.Sprintf("interface %d", a.index)
	if link, err := netlink.LinkByIndex(a.index); err == nil {
		name = Printable(link.Attrs().Name)
	}
	if a.label != "" && a.label != name {
		name += " (" + Printable(a.label) + ")"
	}
	return name
}

// is tells whether an address is one that Up added: by its label, of which a rename of the interface leaves what comes
// after the colon, and of the first label nothing (inetdev_changename); by the marks of our IPv6 addresses.
func (a address) is(index int, alias Alias) bool {
	if a.index != index || a.prefix != alias.Address {
		return false
	}
	if a.prefix.Addr().Is4() {
		return tail(a.label) == tail(alias.Label) || a.proto == aliasProto && tail(a.label) == ""
	}
	const marks = unix.IFA_F_NODAD | unix.IFA_F_DEPRECATED
	return a.flags&marks == marks && (a.proto == aliasProto || a.proto == 0)
}

// addAlias adds an alias to the interface with that index. An IPv6 address is added without duplicate address detection,
// which our own solicitations were, and as deprecated: the host takes it for none of its own connections unless a
// program binds it.
func addAlias(index int, a Alias) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	ip := a.Address.Addr()
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	msg.Index, msg.Prefixlen = uint32(index), uint8(a.Address.Bits())
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip.AsSlice()))
	req.AddData(nl.NewRtAttr(ifaProto, []byte{aliasProto}))
	if ip.Is4() {
		req.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(a.Label)))
	} else {
		msg.Family, msg.Flags = unix.AF_INET6, unix.IFA_F_NODAD
		lifetimes := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Prefered: 0, Valid: math.MaxUint32}}
		req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, lifetimes.Serialize()))
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// deleteAddress deletes exactly that address: the kernel compares the label as well.
func deleteAddress(a address) error {
	req := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	msg := nl.NewIfAddrmsg(nl.GetIPFamily(a.prefix.Addr().AsSlice()))
	msg.Index, msg.Prefixlen = uint32(a.index), uint8(a.prefix.Bits())
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.prefix.Addr().AsSlice()))
	if a.label != "" {
		req.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(a.label)))
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// listTries bounds how often a list is asked for again that changed while the kernel gave it.
const listTries = 10

func listAddresses() ([]address, error) {
	var messages [][]byte
	err := error(nl.ErrDumpInterrupted)
	for try := 0; try < listTries && errors.Is(err, nl.ErrDumpInterrupted); try++ {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		messages, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	}
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	var list []address
	for _, m := range messages {
		attrs, err := nl.ParseRouteAttr(m[unix.SizeofIfAddrmsg:])
		if err != nil {
			return nil, fmt.Errorf("list the addresses: %w", err)
		}
		if a, ok := parseAddress(nl.DeserializeIfAddrmsg(m), attrs); ok {
			list = append(list, a)
		}
	}
	return list, nil
}

func parseAddress(msg *nl.IfAddrmsg, attrs []syscall.NetlinkRouteAttr) (a address, ok bool) {
	a.index, a.flags = int(msg.Index), uint32(msg.Flags)
	var ip netip.Addr
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.IFA_LOCAL:
			ip, ok = netip.AddrFromSlice(attr.Value)
		case unix.IFA_ADDRESS: // of the other end, where there is an IFA_LOCAL
			if !ip.IsValid() {
				ip, ok = netip.AddrFromSlice(attr.Value)
			}
		case unix.IFA_LABEL:
			a.label = unix.ByteSliceToString(attr.Value)
		case unix.IFA_FLAGS:
			a.flags = nl.NativeEndian().Uint32(attr.Value)
		case ifaProto:
			a.proto = attr.Value[0]
		}
	}
	a.prefix = netip.PrefixFrom(ip, int(msg.Prefixlen))
	return a, ok
}

// deletion is what became of aliases that were to be deleted.
type deletion struct {
	deleted []Alias
	gone    []Alias // were not there
	foreign []Alias // there, but not as Up added them: somebody else's
}

// deleteAliases deletes those of an interface's aliases that are still as Up added them, the last added first, for the
// kernel deletes the others of an IPv4 subnet along with its first address.
func deleteAliases(index int, aliases []Alias) (d deletion, err error) {
	present, err := listAddresses()
	if err != nil {
		return d, err
	}
	release, err := keepSubnets(index, aliases, present)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, release()) }()
	for _, alias := range slices.Backward(aliases) {
		state, i := stateOf(alias, index, present)
		if state == there {
			err := deleteAddress(present[i])
			if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
				state = missing
			} else if err != nil {
				return d, fmt.Errorf("remove %s from %s: %w", alias.Address, present[i].where(), err)
			}
		}
		d.note(alias, state)
	}
	return d, nil
}

// note puts an alias before those noted earlier.
func (d *deletion) note(alias Alias, state string) {
	list := map[string]*[]Alias{there: &d.deleted, missing: &d.gone, changed: &d.foreign}[state]
	*list = slices.Insert(*list, 0, alias)
}

// keepSubnets sees to it that other addresses of the interface survive when the first address of their subnet is one of
// the aliases: the kernel then has to promote one of them (promote_secondaries) rather than delete them all.
func keepSubnets(index int, aliases []Alias, present []address) (release func() error, err error) {
	none := func() error { return nil }
	if !slices.ContainsFunc(present, func(a address) bool { return rests(a, index, aliases, present) }) {
		return none, nil
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return none, fmt.Errorf("find interface %d: %w", index, err)
	}
	path := "/proc/sys/net/ipv4/conf/" + link.Attrs().Name + "/promote_secondaries"
	before, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(before)) == "0" {
		err = os.WriteFile(path, []byte("1"), 0)
		none = func() error { return os.WriteFile(path, before, 0) }
	}
	if err != nil {
		return none, fmt.Errorf("keep the other addresses of %s while its aliases are removed: %w",
			Printable(link.Attrs().Name), err)
	}
	return none, nil
}

// rests tells whether an address is somebody else's and secondary to one of the aliases.
func rests(a address, index int, aliases []Alias, present []address) bool {
	ours := func(a address) bool {
		return slices.ContainsFunc(aliases, func(alias Alias) bool { return a.is(index, alias) })
	}
	if a.index != index || !a.prefix.Addr().Is4() || a.flags&unix.IFA_F_SECONDARY == 0 || ours(a) {
		return false
	}
	return slices.ContainsFunc(present, func(first address) bool {
		return first.flags&unix.IFA_F_SECONDARY == 0 && first.prefix.Masked() == a.prefix.Masked() && ours(first)
	})
}
