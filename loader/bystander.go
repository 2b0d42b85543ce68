package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// skipsBucket tells whether the kernel's iterator over TCP sockets can leave out a bucket of established sockets. Having found
// no more listeners it turns to those with a count of -1 sockets to skip, and so skips for as long as the bucket has the number
// of the one that it stood at: the one behind the last listener's, or 0 without any (tcp_seek_last_pos). It began with
// 04c7820b776f (5.15); what ended it, e25ab9b874a4 (6.17) and its backports, took the field away.
func skipsBucket(spec *btf.Spec) bool { return hasMember(spec, "bpf_tcp_iter_state", "st_bucket_done") }

// bystanders listen while such an iterator walks, which puts the last bucket with a listener far behind the first with an
// established socket. With n of them, B buckets for listeners (one for 2 MiB of the machine's memory) and the first established
// socket in bucket F, the chance that it does not is about n/B * (F/B)^n.
type bystanders []int

const numBystanders = 4

// bystanderAddress is nobody else's, and leads nowhere but here.
var bystanderAddress = netip.AddrFrom4([4]byte{127, 255, 255, 253})

// listen opens them in the thread's network namespace, at ports that the kernel chooses.
func (b *bystanders) listen() error {
	for range numBystanders {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("make a listener to stand beside the walk: %w", err)
		}
		*b = append(*b, fd)
		// Free binding does without an interface lo that is up.
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1),
			unix.Bind(fd, &unix.SockaddrInet4{Addr: bystanderAddress.As4()}), unix.Listen(fd, 1))
		if err != nil {
			return fmt.Errorf("have a listener stand beside the walk: %w", err)
		}
	}
	return nil
}

func (b *bystanders) close() {
	for _, fd := range *b {
		_ = unix.Close(fd)
	}
}

// leavingOutBystanders visits all others than those of this walk and of any other.
func leavingOutBystanders(visit func(*kernel.Endpoint) error) func(*kernel.Endpoint) error {
	return func(e *kernel.Endpoint) error {
		if e.State == kernel.StateListen && e.Local.Addr() == bystanderAddress {
			return nil
		}
		return visit(e)
	}
}
