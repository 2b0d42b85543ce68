package load

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// The filter on a listener is a classic BPF program, which the kernel runs for each segment that comes for the listener
// (tcp_filter in tcp_v4_rcv and tcp_v6_rcv), a SYN among them. It begins at the TCP header; SKF_NET_OFF leads back to
// the IP header (include/uapi/linux/filter.h).
const (
	skfNetOff   = 0xfff00000 // -0x100000
	sourceOfIP4 = skfNetOff + 12
	sourceOfIP6 = skfNetOff + 8
	passAll     = 0xffffffff
)

// span is a run of consecutive addresses that differ in their last four bytes only.
type span struct {
	prefix    []uint32 // what comes before those bytes, for IPv6
	low, high uint32
}

// spans puts addresses of one family into as few runs as there are.
func spans(addresses []netip.Addr) []span {
	sorted := slices.Clone(addresses)
	slices.SortFunc(sorted, netip.Addr.Compare)
	var list []span
	for _, a := range slices.Compact(sorted) {
		words := wordsOf(a)
		prefix, last := words[:len(words)-1], words[len(words)-1]
		if n := len(list); n > 0 && slices.Equal(list[n-1].prefix, prefix) && list[n-1].high+1 == last {
			list[n-1].high = last
			continue
		}
		list = append(list, span{prefix, last, last})
	}
	return list
}

func wordsOf(a netip.Addr) (words []uint32) {
	b := a.AsSlice()
	for i := 0; i < len(b); i += 4 {
		words = append(words, binary.BigEndian.Uint32(b[i:]))
	}
	return words
}

// gateFilter passes segments whose source is one of the addresses, and drops all others. The kernel charges the program to
// the listener, in its own longer instructions, and before 6.7 allows 20 KiB for it (net.core.optmem_max): so a source is
// read once, and no instruction is spent twice on what addresses have in common.
func gateFilter(addresses []netip.Addr) []bpf.Instruction {
	list := spans(addresses)
	if addresses[0].Is4() {
		return append([]bpf.Instruction{loadWord(sourceOfIP4)}, testLast(list)...)
	}
	var program []bpf.Instruction
	for word := range 4 {
		program = append(program, loadWord(sourceOfIP6+4*uint32(word)), bpf.StoreScratch{Src: bpf.RegA, N: word})
	}
	return append(program, testWord(list, 0)...)
}

func loadWord(at uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: at, Size: 4} }

// testWord comes to a verdict on a source by one of its words and those behind it; the spans have the words before in common.
func testWord(list []span, word int) []bpf.Instruction {
	p := []bpf.Instruction{bpf.LoadScratch{Dst: bpf.RegA, N: word}}
	if word == len(list[0].prefix) {
		return append(p, testLast(list)...)
	}
	for len(list) > 0 {
		value := list[0].prefix[word]
		alike := slices.IndexFunc(list, func(s span) bool { return s.prefix[word] != value })
		if alike < 0 {
			alike = len(list)
		}
		rest := testWord(list[:alike], word+1)
		if len(rest) <= 255 {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipFalse: uint8(len(rest))})
		} else {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: 1}, bpf.Jump{Skip: uint32(len(rest))})
		}
		p, list = append(p, rest...), list[alike:]
	}
	return append(p, bpf.RetConstant{Val: 0})
}

// testLast comes to a verdict by the last word, which is loaded.
func testLast(list []span) (p []bpf.Instruction) {
	for _, s := range list {
		if s.low == s.high {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: s.low, SkipFalse: 1})
		} else {
			p = append(p, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: s.low, SkipFalse: 2},
				bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: s.high, SkipTrue: 1})
		}
		p = append(p, bpf.RetConstant{Val: passAll})
	}
	return append(p, bpf.RetConstant{Val: 0})
}
