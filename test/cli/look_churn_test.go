package cli

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/test/check"
)

// churner opens and resets connections to a listener of its own as fast as it can, until it is told to end. It keeps some open, each
// of which is in a bucket of the kernel's table that changes all the time.
type churner struct {
	opened atomic.Int64
	end    atomic.Bool
	ended  chan error
	kept   []string // "address port address port", as a list of endpoints has them, of the connecting ends
}

func startChurner(t *testing.T, keep int) *churner {
	t.Helper()
	c := &churner{ended: make(chan error, 1)}
	begun := make(chan error)
	go check.OnThreadOfItsOwn(func() {
		err := unix.Unshare(unix.CLONE_FILES)
		if err != nil {
			begun <- err
			return
		}
		listener, at, err := listenAnywhere()
		for range keep {
			if err == nil {
				err = c.keep(listener, at)
			}
		}
		begun <- err
		for err == nil && !c.end.Load() {
			err = c.reset(listener, at)
		}
		c.ended <- err
	})
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *churner) keep(listener int, at unix.Sockaddr) error {
	fd, err := connected(at)
	if err != nil {
		return err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	c.kept = append(c.kept, addressPort(local)+" "+addressPort(at))
	_, _, err = unix.Accept(listener)
	return err
}

// reset opens a connection and closes it without TIME_WAIT.
func (c *churner) reset(listener int, at unix.Sockaddr) error {
	fd, err := connected(at)
	if err != nil {
		return err
	}
	accepted, _, err := unix.Accept(listener)
	c.opened.Add(1)
	return errors.Join(err, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(fd),
		unix.Close(accepted))
}

// Sockets come and go at tens of thousands a second beside the walk. Those that stay are found, each once, and what came in the middle of
// it is told.
func TestALookAtSocketsThatComeAndGoFindsThoseThatStay(t *testing.T) {
	const looks, keep = 4, 500
	churners := []*churner{startChurner(t, keep), startChurner(t, keep)}
	begun := time.Now()
	for range looks {
		cmd := command(t, "snapshot", "-o", "rec.json", "--endpoints", "ep.csv")
		finish(t, cmd).exits(t, exitDone)
		m := readRecording(t, cmd.Dir+"/rec.json").Machines[0]
		rows := 0
		for _, row := range m.Endpoints {
			rows += row.Count
		}
		list := readEndpointsAt(t, cmd.Dir+"/ep.csv")
		if rows != len(list.rows) {
			t.Errorf("%d endpoints in the account and %d in the list", rows, len(list.rows))
		}
		met := map[string]int{}
		for _, row := range list.rows {
			if list.field(row, "state") == "ESTABLISHED" {
				met[strings.Join(row[2:6], " ")]++
			}
		}
		for _, c := range churners {
			for _, tuple := range c.kept {
				if met[tuple] != 1 {
					t.Errorf("%s was met %d times", tuple, met[tuple])
				}
			}
		}
		b := m.Books
		if b == nil || b.Sockets.Unreachable != b.Sockets.Alloc-b.Sockets.Walked-b.Sockets.Unconnected {
			t.Errorf("the remainder is not told: %+v", b)
		}
	}
	opened := int64(0)
	for _, c := range churners {
		c.end.Store(true)
		if err := <-c.ended; err != nil {
			t.Error(err)
		}
		opened += c.opened.Load()
	}
	t.Logf("%.0f connections a second beside %d looks", float64(opened)/time.Since(begun).Seconds(), looks)
	if opened < 1000*looks {
		t.Errorf("%d connections came and went: the test proves little", opened)
	}
}

// addressPort is an IPv4 address and port as a list of endpoints has them.
func addressPort(a unix.Sockaddr) string {
	v4 := a.(*unix.SockaddrInet4)
	return netip.AddrFrom4(v4.Addr).String() + " " + strconv.Itoa(v4.Port)
}
