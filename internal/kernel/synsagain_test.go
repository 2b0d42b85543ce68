package kernel

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A listener with a full queue drops SYNs, and the kernel sends them again.
func TestSYNsThatAreSentAgainAreCounted(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	before := SYNsSentAgain()
	if before < 0 {
		t.Fatal("this kernel does not say")
	}
	const waiting = 3
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for range waiting + 1 { // a backlog of 0 takes one
		all.Go(func() {
			if c, err := new(net.Dialer).DialContext(ctx, "tcp4", at.String()); err == nil {
				c.Close()
			}
		})
	}
	for end := time.Now().Add(time.Minute); SYNsSentAgain() < before+waiting; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d more in a minute, %d handshakes wait", SYNsSentAgain()-before, waiting)
		}
	}
}
