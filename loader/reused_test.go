package loader

import (
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
)

// asksToReconnect has the test's program be another process, which connects file 3 anew.
const asksToReconnect = "CONNPROF_TEST_RECONNECTS"

func init() {
	if os.Getenv(asksToReconnect) == "" {
		return
	}
	if err := reconnect(3); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// reconnect ends the connection of a socket without a close, and opens another one.
func reconnect(fd int) error {
	none := [16]byte{} // AF_UNSPEC
	if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), 16); e != 0 {
		return e
	}
	return unix.Connect(fd, at(scenePort))
}

// A sock whose end nobody has seen is another connection's by the time that it connects again, also where that one does not count.
func TestASockThatConnectsAnewIsAnotherConnection(t *testing.T) {
	for name, byItself := range map[string]bool{"which counts": true, "which does not count": false} {
		t.Run(name, func(t *testing.T) {
			s := &scene{Private: private(t)}
			defer s.close()
			p := loadOpens(t, s, Opens{PIDs: []int{os.Getpid()}})
			var client int
			in(t, s.Private, func() error {
				if _, err := s.keep(listenOn(scenePort)); err != nil {
					return err
				}
				client = s.client(t)
				return unix.Connect(client, at(scenePort))
			})
			again := reconnect
			if !byItself {
				again = reconnectElsewhere
			}
			if err := again(client); err != nil {
				t.Fatal(err)
			}
			got, err := p.OpenCounters()
			if err != nil {
				t.Fatal(err)
			}
			want, open := kernel.OpenCounters{Opened: 2, Closed: 1, Replaced: 1}, 1
			if !byItself {
				want.Opened, open = 1, 0
			}
			if got.Opened, got.Closed = clientsOnly(t, p); got != want {
				t.Errorf("counted\n%+v, want\n%+v", got, want)
			}
			n := 0
			if err := p.OpenSockets(func(_ uint64, o kernel.OpenSocket) {
				if o.Role != kernel.RoleClient {
					return
				}
				if n++; o.PeerPort != scenePort {
					t.Errorf("its peer's port is %d", o.PeerPort)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if n != open {
				t.Errorf("%d are open, want %d", n, open)
			}
		})
	}
}

// reconnectElsewhere has another process do it.
func reconnectElsewhere(fd int) error {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(copied), "socket")
	defer file.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.ExtraFiles, cmd.Stderr = append(os.Environ(), asksToReconnect+"=1"), []*os.File{file}, os.Stderr
	return cmd.Run()
}

// clientsOnly is what openers of connect() have opened and closed.
func clientsOnly(t *testing.T, p *Probes) (opened, closed uint64) {
	t.Helper()
	if err := p.Openers(func(_ kernel.OpenerID, c *kernel.OpenerCounts) {
		if c.Role == kernel.RoleClient {
			opened, closed = opened+c.Opened, closed+c.Closed
		}
	}); err != nil {
		t.Fatal(err)
	}
	return opened, closed
}
