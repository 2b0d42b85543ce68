package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/remote/peer"
)

// calls connects from near to the control port.
func (p pair) calls(t *testing.T) net.Conn {
	t.Helper()
	return p.callsFrom(t, 0, farIP)
}

// callsFrom is from a local port, 0 for any, to an address of far.
func (p pair) callsFrom(t *testing.T, port int, ip string) net.Conn {
	t.Helper()
	var c net.Conn
	var from *net.TCPAddr // the kernel's choice
	if port > 0 {
		from = &net.TCPAddr{Port: port}
	}
	inside(t, p.near, func() (err error) {
		c, err = net.DialTCP("tcp", from, &net.TCPAddr{IP: net.ParseIP(ip), Port: servePort})
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// greeting is what a peer of version 1 says first, and a peer of any other to one whose version is another.
func greeting(version int) []byte {
	return append(binary.BigEndian.AppendUint16([]byte("connprof"), uint16(version)), make([]byte, 32)...)
}

// helloOf begins as a TLS client does whose hello is as long as it says, in as many records as that takes.
func helloOf(bytes int) string {
	length := binary.BigEndian.AppendUint32(nil, uint32(bytes))
	return "\x16\x03\x01\x02\x00\x01" + string(length[1:]) + "\x03\x03" + strings.Repeat("x", 506)
}

// isAlert tells whether an answer is nothing but why TLS hangs up.
func isAlert(b []byte) bool { return len(b) == 7 && string(b[:5]) == "\x15\x03\x01\x00\x02" }

// hangsUp reads to the end of what the other end has to say, within a minute.
func hangsUp(t *testing.T, c net.Conn) []byte {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("serve did not hang up on the caller within a minute")
	}
	return b
}

// admitted proves itself to the serve, as a run does, and can then say what it likes.
func (p pair) admitted(t *testing.T) (net.Conn, *peer.Link) {
	t.Helper()
	return p.admittedAt(t, farIP)
}

func (p pair) admittedAt(t *testing.T, ip string) (net.Conn, *peer.Link) {
	t.Helper()
	c := p.callsFrom(t, 0, ip)
	client, err := peer.NewClient(serveToken)
	if err != nil {
		t.Fatal(err)
	}
	link, err := client.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	return c, link
}

func TestEachMismatchIsOneClearLineAtEachEnd(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	serve := p.serve(t, "--ports", "3")
	few := []string{"--ips", "1", "--conns", "1k"}
	t.Run("a wrong token", func(t *testing.T) {
		p.run(t, append(few, "--token", peer.NewToken())...).wait(t).refuses(t, exitFailed,
			"the token is wrong", "--token")
		serve.tells(t, "turned "+nearIP+" away: the token is wrong")
	})
	t.Run("a token of somebody's own", func(t *testing.T) {
		const own, how = "0123456789abcdef0123456789abcdef", "start connprof serve without one"
		p.run(t, append(few, "--token", own)...).wait(t).refuses(t, exitUsage, "--token", how)
		finish(t, command(t, "serve", "--token", own)).refuses(t, exitUsage, "--token", how)
	})
	t.Run("another version calls", func(t *testing.T) {
		time.Sleep(time.Second) // lines about strangers are a second apart
		c := p.calls(t)
		if _, err := c.Write(greeting(1)); err != nil {
			t.Fatal(err)
		}
		if b := hangsUp(t, c); string(b) != string(greeting(2)) {
			t.Errorf("a caller of version 1 was told %q, want to be told of version 2", b)
		}
		serve.tells(t, "turned "+nearIP+" away", "version 2 of the protocol and the other end version 1")
	})
	t.Run("another version answers", func(t *testing.T) {
		fake := p.listens(t, 9000, func(c net.Conn) { _, _ = c.Write(greeting(1)); _, _ = io.Copy(io.Discard, c) })
		p.run(t, append(few, "--target", fake)...).wait(t).refuses(t, exitFailed,
			"version 2 of the protocol and the other end version 1", "the same connprof on both machines")
	})
	t.Run("something else answers", func(t *testing.T) {
		fake := p.listens(t, 9001, func(c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n\r\n\r\n")
		})
		p.run(t, append(few, "--target", fake)...).wait(t).refuses(t, exitFailed, "does not speak connprof's protocol")
	})
	t.Run("nobody answers", func(t *testing.T) {
		p.run(t, append(few, "--target", addressAt(farIP, 9002))...).wait(t).refuses(t, exitFailed, "connection refused",
			"is it running there", "9002")
	})
	t.Run("too few addresses", func(t *testing.T) {
		p.run(t, "--conns", "1k").wait(t).refuses(t, exitFailed, "--ips 20", "connprof netup")
	})
	t.Run("more ports than there are", func(t *testing.T) {
		p.run(t, append(few, "--ports", "4")...).wait(t).refuses(t, exitFailed, "refuses", "no 4 consecutive free data ports",
			"--ports")
		serve.tells(t, "refused "+nearIP, "no 4 consecutive free data ports")
	})
	t.Run("more connections than it may hold", func(t *testing.T) {
		small := p.serve(t, "--listen", ":8200", "--conns", "500")
		p.run(t, append(few, "--target", addressAt(farIP, 8200))...).wait(t).refuses(t, exitFailed, "refuses", "--conns")
		small.tells(t, "refused "+nearIP, "--conns")
	})
	p.goesOn(t, serve)
}

// listens has something else than a connprof serve answer on far.
func (p pair) listens(t *testing.T, port int, answer func(net.Conn)) string {
	t.Helper()
	at := addressAt(farIP, port)
	var l net.Listener
	inside(t, p.far, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at)))
		return err
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
			c.Close()
		}
	}()
	return at
}

func TestCallersThatWasteTheServersTime(t *testing.T) {
	p, ok := newPair(t)
	if !ok {
		return
	}
	serve := p.serve(t)
	p.nextRun(t) // what a run leaves in memory is none of the callers' doing
	before := residentKiB(t, serve.pid(), "VmRSS")
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", serve.pid()), []byte("5"), 0); err != nil { // resets VmHWM
		t.Fatal(err)
	}
	t.Run("a thousand that say nothing", func(t *testing.T) {
		// One of them is from a port that has a data port's number.
		silent := []net.Conn{p.callsFrom(t, servePort+2, farIP)}
		for range 999 {
			silent = append(silent, p.calls(t))
		}
		// Those that are let in are silent for as long as they may be; the others are hung up on at once.
		for _, c := range silent {
			if b := hangsUp(t, c); len(b) > 0 {
				t.Fatalf("a silent caller was told %q", b)
			}
		}
	})
	p.nextRun(t)
	t.Run("garbage", func(t *testing.T) {
		for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00" + strings.Repeat("\x00", 512),
			"\x1b[2J\x1b]0;x\a", "c"} {
			c := p.calls(t)
			_, _ = io.WriteString(c, text)
			_ = c.(*net.TCPConn).CloseWrite()
			if b := hangsUp(t, c); len(b) > 0 && !isAlert(b) {
				t.Errorf("%q was answered by %q", text, b)
			}
		}
	})
	t.Run("a hello a byte at a time", func(t *testing.T) {
		c := p.calls(t)
		gone := make(chan struct{})
		go func() { hangsUp(t, c); close(gone) }()
		for _, b := range []byte(helloOf(512))[:41] {
			select {
			case <-gone:
				return
			case <-time.After(200 * time.Millisecond):
			}
			_, _ = c.Write([]byte{b})
		}
		t.Error("serve waited for 41 slow bytes")
	})
	t.Run("a frame of 2 GiB before it has proved itself", func(t *testing.T) {
		c := p.calls(t)
		_, _ = io.WriteString(c, helloOf(1<<24-1)+"\x02\x7f\xff\xff\xff and then as many bytes as it takes, or so it says")
		hangsUp(t, c)
	})
	t.Run("a frame of 2 GiB past TLS afterwards", func(t *testing.T) {
		c, link := p.admitted(t)
		_, _ = c.Write([]byte("\x02\x7f\xff\xff\xff"))
		<-link.Done()
	})
	p.requests(t, serve)
	// A thousand buffers of one frame each would be 64 MiB, and one frame of the claimed length 2 GiB.
	peak := residentKiB(t, serve.pid(), "VmHWM")
	t.Logf("serve had %d KiB resident before all of that, and %d at most", before, peak)
	if peak > before+48<<10 {
		t.Errorf("serve had %d KiB resident before all of that, and %d at most", before, peak)
	}
	lines := strings.Split(serve.stdout.String(), "\n")
	strangers := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "turned ") {
			strangers++
		}
	}
	// There were more than a thousand of them, and a line a second at most.
	if strangers == 0 || strangers > 100 || !strings.Contains(serve.stdout.String(), "more before)") {
		t.Errorf("serve has %d lines about strangers:\n%s", strangers, serve.stdout.String())
	}
	if i := strings.IndexFunc(serve.stdout.String(), func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f) }); i >= 0 {
		t.Errorf("serve says %q", serve.stdout.String()[i:])
	}
	p.goesOn(t, serve)
}

// residentKiB is what a process has in memory, or has had at most, by the field's name.
func residentKiB(t *testing.T, pid int, field string) int {
	t.Helper()
	n := 0
	for _, line := range strings.Split(string(readFile(t, fmt.Sprintf("/proc/%d/status", pid))), "\n") {
		if _, err := fmt.Sscanf(line, field+": %d kB", &n); err == nil {
			return n
		}
	}
	t.Fatalf("process %d has no %s", pid, field)
	return 0
}
