//go:build vm

package hostlimits

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// trackConnections adds what `nft add rule ... ct state new` would: a chain on the way out with a rule that asks for the
// state of connections, for which the kernel puts connection tracking into the path. The way back takes it out again.
func trackConnections() (undo func() error, err error) {
	const table, chain = "connprof-test", "out"
	err = nftables(
		nftMessage{unix.NFT_MSG_NEWTABLE, attrs(text(unix.NFTA_TABLE_NAME, table))},
		nftMessage{unix.NFT_MSG_NEWCHAIN, attrs(text(unix.NFTA_CHAIN_TABLE, table), text(unix.NFTA_CHAIN_NAME, chain),
			nest(unix.NFTA_CHAIN_HOOK, number(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_OUT), number(unix.NFTA_HOOK_PRIORITY, 0)),
			text(unix.NFTA_CHAIN_TYPE, "filter"))},
		nftMessage{unix.NFT_MSG_NEWRULE, attrs(text(unix.NFTA_RULE_TABLE, table), text(unix.NFTA_RULE_CHAIN, chain),
			nest(unix.NFTA_RULE_EXPRESSIONS, nest(unix.NFTA_LIST_ELEM, text(unix.NFTA_EXPR_NAME, "ct"),
				nest(unix.NFTA_EXPR_DATA, number(unix.NFTA_CT_KEY, unix.NFT_CT_STATE), number(unix.NFTA_CT_DREG, unix.NFT_REG_1)))))},
	)
	if err != nil {
		return nil, fmt.Errorf("have connections tracked: %w", err)
	}
	return func() error {
		return nftables(nftMessage{unix.NFT_MSG_DELTABLE, attrs(text(unix.NFTA_TABLE_NAME, table))})
	}, nil
}

type nftMessage struct {
	kind  int
	attrs []*nl.RtAttr
}

func attrs(list ...*nl.RtAttr) []*nl.RtAttr { return list }

func text(kind int, s string) *nl.RtAttr { return nl.NewRtAttr(kind, nl.ZeroTerminated(s)) }

// number is an attribute in network byte order, as all of nftables are.
func number(kind int, n uint32) *nl.RtAttr {
	return nl.NewRtAttr(kind, binary.BigEndian.AppendUint32(nil, n))
}

func nest(kind int, list ...*nl.RtAttr) *nl.RtAttr {
	outer := nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil)
	for _, a := range list {
		outer.AddChild(a)
	}
	return outer
}

// nftables carries out all messages or none, in one batch.
func nftables(messages ...nftMessage) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var batch []byte
	add := func(kind, flags int, family uint8, resource uint16, list []*nl.RtAttr) {
		r := nl.NewNetlinkRequest(kind, flags)
		r.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: unix.NFNETLINK_V0, ResId: resource<<8 | resource>>8})
		for _, a := range list {
			r.AddData(a)
		}
		batch = append(batch, r.Serialize()...)
	}
	const subsystem = unix.NFNL_SUBSYS_NFTABLES
	add(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, subsystem, nil)
	for _, m := range messages {
		flags := unix.NLM_F_ACK
		if m.kind != unix.NFT_MSG_DELTABLE {
			flags |= unix.NLM_F_CREATE
		}
		add(subsystem<<8|m.kind, flags, unix.NFPROTO_IPV4, 0, m.attrs)
	}
	add(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, subsystem, nil)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return answers(fd, len(messages))
}

// answers reads as many acknowledgements, the first refusal among them ends it.
func answers(fd, want int) error {
	buffer := make([]byte, 64<<10)
	for want > 0 {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return err
		}
		for rest := buffer[:n]; len(rest) >= unix.SizeofNlMsghdr+4; want-- {
			length := int(binary.NativeEndian.Uint32(rest))
			if kind := binary.NativeEndian.Uint16(rest[4:]); kind != unix.NLMSG_ERROR {
				return fmt.Errorf("nftables answers with a message of type %d", kind)
			}
			if number := int32(binary.NativeEndian.Uint32(rest[unix.SizeofNlMsghdr:])); number != 0 {
				return fmt.Errorf("nftables refuses: %w", unix.Errno(-number))
			}
			rest = rest[min((length+3)&^3, len(rest)):]
		}
	}
	return nil
}
