package load

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestAConnectionIsFullWhenTheKernelTakesNoMore(t *testing.T) {
	sender, receiver := pair(t)
	s, a := &shard{held: []int32{int32(sender)}}, &actor{shared: &shared{}}
	s.fill(a)
	if acted, refused := a.shared.acted.Load(), a.shared.refused.Load(); acted != 1 || refused != 0 {
		t.Errorf("%d filled, %d refused", acted, refused)
	}
	if n, err := unix.Write(sender, []byte{1}); err != unix.EAGAIN {
		t.Errorf("write: %d, %v; want %v", n, err, unix.EAGAIN)
	}
	unread, err := unix.IoctlGetInt(receiver, unix.SIOCINQ)
	if queued := unacknowledged(sender); err != nil || unread == 0 || queued == 0 {
		t.Errorf("%d bytes unread, %d not acknowledged, %v", unread, queued, err)
	}
}

func TestAConnectionThatIsGoneIsNotFilled(t *testing.T) {
	sender, _ := pair(t)
	if err := unix.Shutdown(sender, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	a := &actor{shared: &shared{}}
	open, progress := a.pour([]filling{{fd: int32(sender)}})
	if len(open) != 0 || !progress || a.shared.refused.Load() != 1 {
		t.Errorf("%d are left, %d refused", len(open), a.shared.refused.Load())
	}
	if f := a.shared.listFailures(); len(f) != 1 || f[0].Errno != unix.EPIPE {
		t.Errorf("failures %+v", f)
	}
}
