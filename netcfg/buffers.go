package netcfg

import (
	"fmt"
	"os"
)

// LeastBuffer and MostBuffer bound Config.ReceiveBuffer and Config.SendBuffer, in bytes: no kernel takes less for a receive buffer
// than a page, and no window is larger than 1 GiB (RFC 7323).
const (
	LeastBuffer = 4 << 10
	MostBuffer  = 1 << 30
)

// The sysctls that bound a socket's buffers.
const (
	receiveBuffer = "net.ipv4.tcp_rmem"
	sendBuffer    = "net.ipv4.tcp_wmem"
)

// setBuffers sets the first size of a socket's buffer and the most that it grows to, where that is asked for. What cannot be set is
// an error: without it the run would measure something else.
func setBuffers(c Config) error {
	for name, bytes := range map[string]int{receiveBuffer: c.ReceiveBuffer, sendBuffer: c.SendBuffer} {
		if bytes == 0 {
			continue
		}
		if err := setSysctl(name, fmt.Sprintf("%d %d %d", LeastBuffer, bytes, bytes)); err != nil {
			return err
		}
	}
	return nil
}

// Buffer is one of net.ipv4.tcp_rmem and net.ipv4.tcp_wmem, in bytes.
type Buffer struct {
	Least, First, Most int
}

// String is the value as the sysctl shows it.
func (b Buffer) String() string { return fmt.Sprintf("%d %d %d", b.Least, b.First, b.Most) }

// Buffers are what the namespace gives a TCP socket to receive into and to send from.
func (p *Private) Buffers() (receive, send Buffer, err error) {
	err = p.Do(func() (err error) {
		if receive, err = readBuffer("/proc/sys/net/ipv4/tcp_rmem"); err != nil {
			return err
		}
		send, err = readBuffer("/proc/sys/net/ipv4/tcp_wmem")
		return err
	})
	return receive, send, err
}

func readBuffer(path string) (b Buffer, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return b, fmt.Errorf("read the size of socket buffers: %w (is /proc mounted?)", err)
	}
	if _, err := fmt.Sscan(string(text), &b.Least, &b.First, &b.Most); err != nil {
		return b, fmt.Errorf("parse %s: %w", path, err)
	}
	return b, nil
}
