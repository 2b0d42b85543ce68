package load

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withSysctl sets a sysctl of the tests' own network namespace for one test.
func withSysctl(t *testing.T, name, value string) {
	t.Helper()
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	old, err := os.ReadFile(path)
	if err := errors.Join(err, os.WriteFile(path, []byte(value), 0)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, old, 0) })
}

func TestAPayloadThatTheSysctlsLeaveNoRoomForIsSaidSo(t *testing.T) {
	for _, name := range []string{"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"} {
		withSysctl(t, name, "4096 4096 16384") // some kernels take no less than a page
	}
	const n, payload = 20, 16384
	c := testConfig(t, 1, n)
	c.Scenario, c.Payload = "unread", payload
	e := start(t, c)
	if err := e.Begin(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, e, "open", allUp(n))
	scenario, _ := FindScenario(c.Scenario)
	var unarranged *UnarrangedError
	if err := e.Arrange(scenario, patience*10); !errors.As(err, &unarranged) {
		t.Fatalf("Arrange: %v", err)
	}
	if unarranged.Left != n || unarranged.Of != n || unarranged.Stuck != n || len(e.Failures()) != 0 {
		t.Errorf("%+v, failures %v", unarranged, e.Failures())
	}
	for _, want := range []string{"of 327680 bytes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"} {
		if !strings.Contains(unarranged.Error(), want) {
			t.Errorf("%q lacks %q", unarranged, want)
		}
	}
	if p := e.Progress(); p.Up() != n {
		t.Errorf("%d of %d are up", p.Up(), n)
	}
}

// pair is a connection whose receiver has a small window.
func pair(t *testing.T) (sender, receiver int) {
	t.Helper()
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	err = errors.Join(err, unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096),
		unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(listener, 1))
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(listener)
	if err != nil {
		t.Fatal(err)
	}
	sender, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err := errors.Join(err, unix.Connect(sender, at), unix.SetNonblock(sender, true)); err != nil {
		t.Fatal(err)
	}
	receiver, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = unix.Close(listener), unix.Close(sender), unix.Close(receiver) })
	return sender, receiver
}

// That write() has returned says nothing: the bytes may be with the sender.
func TestAPayloadIsDeliveredOnceItIsInTheReceiversQueue(t *testing.T) {
	sender, receiver := pair(t)
	a := &actor{shared: &shared{}, payload: make([]byte, 32<<10)}
	open := []delivery{{fd: int32(sender), left: len(a.payload)}}
	for range 20 {
		open, _ = a.advance(open)
		gather()
	}
	if len(open) != 1 || open[0].left != 0 || open[0].queued == 0 || a.shared.acted.Load() != 0 {
		t.Fatalf("%+v is left, %d delivered: want a payload that is written and not delivered", open, a.shared.acted.Load())
	}
	for got, b := 0, make([]byte, len(a.payload)); got < len(a.payload); {
		n, err := unix.Read(receiver, b)
		if err != nil || n == 0 {
			t.Fatalf("read: %d, %v", n, err)
		}
		got += n
	}
	for len(open) > 0 {
		open, _ = a.advance(open)
		gather()
	}
	if a.shared.acted.Load() != 1 || a.shared.delivered.Load() != int64(len(a.payload)) {
		t.Errorf("%d delivered, %d bytes", a.shared.acted.Load(), a.shared.delivered.Load())
	}
}
