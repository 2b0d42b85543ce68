package load

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
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

// gateFilter passes segments whose source is one of the addresses, and drops all others.
func gateFilter(addresses []netip.Addr) []unix.SockFilter {
	source := uint32(sourceOfIP4)
	if addresses[0].Is6() {
		source = sourceOfIP6
	}
	var program []unix.SockFilter
	for _, s := range spans(addresses) {
		program = append(program, s.test(source)...)
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0})
}

// test passes the segment if its source is in the span, and goes on behind itself if not.
func (s span) test(source uint32) []unix.SockFilter {
	load := func(word int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: source + uint32(4*word)}
	}
	var p []unix.SockFilter
	left := uint8(2*len(s.prefix) + 4) // instructions of this test that follow
	for i, word := range s.prefix {
		left -= 2
		p = append(p, load(i), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: left, K: word})
	}
	return append(p, load(len(s.prefix)),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 2, K: s.low},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Jt: 1, K: s.high},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: passAll})
}

func fprog(program []unix.SockFilter) *unix.SockFprog {
	return &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}
