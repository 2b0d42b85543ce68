package peer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Version 1 began with 42 bytes in plain text: magic, version, and 32 random ones. A server of any version answers one of
// another by the same, so that two versions can tell each other so; the random bytes are zero, for there is nothing to prove.
const (
	magic         = "connprof"
	greetingBytes = len(magic) + 2 + 32
)

func greeting(version int) []byte {
	return append(binary.BigEndian.AppendUint16([]byte(magic), uint16(version)), make([]byte, 32)...)
}

// protocol names a version to TLS (ALPN).
func protocol(version int) string { return magic + "/" + strconv.Itoa(version) }

// versionOf is the version that a protocol's name names, 0 for a stranger's.
func versionOf(name string) int {
	text, ours := strings.CutPrefix(name, magic+"/")
	n, err := strconv.ParseUint(text, 10, 16)
	if !ours || err != nil {
		return 0
	}
	return int(n)
}

// The first byte of a TLS connection is that of one of these records.
const (
	recordAlert     = 21
	recordHandshake = 22
)

// handshakeBytes bounds what an end takes in before the other has proved itself. Two ends of this version say about 2 KiB.
const handshakeBytes = 8 << 10

// wire is the connection below TLS. It passes on what begins as TLS does, and no more of it than a handshake takes until the
// other end is known.
type wire struct {
	net.Conn
	version int
	answers bool // a server's: it greets those of another version
	heard   bool // the other end has said something
	left    int  // bytes that the other end may still say, while it is not known
	known   bool
}

func newWire(c net.Conn, version int, answers bool) *wire {
	return &wire{Conn: c, version: version, answers: answers, left: handshakeBytes}
}

func (w *wire) Read(b []byte) (int, error) {
	switch {
	case w.known:
		return w.Conn.Read(b)
	case !w.heard:
		return w.begin(b)
	case w.left == 0:
		return 0, fmt.Errorf("%w: it says more than %d bytes before it has proved itself", ErrStranger, handshakeBytes)
	}
	n, err := w.Conn.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

// begin reads the first byte, and turns away who does not speak TLS.
func (w *wire) begin(b []byte) (int, error) {
	if _, err := io.ReadFull(w.Conn, b[:1]); err != nil {
		return 0, err
	}
	w.heard = true
	switch b[0] {
	case recordAlert, recordHandshake:
		return 1, nil
	case magic[0]:
		return 0, w.greeted()
	}
	return 0, ErrStranger
}

// greeted reads the rest of a greeting.
func (w *wire) greeted() error {
	b := make([]byte, greetingBytes-1)
	_, err := io.ReadFull(w.Conn, b)
	switch {
	case err != nil && !hungUp(err):
		return err
	case err != nil || !bytes.HasPrefix(b, []byte(magic[1:])):
		return ErrStranger
	}
	return w.meets(int(binary.BigEndian.Uint16(b[len(magic)-1:])))
}

// meets turns away another version, in words that it understands.
func (w *wire) meets(version int) error {
	if version == w.version {
		return ErrStranger // it would not say so in plain text
	}
	if w.answers {
		if _, err := w.Write(greeting(w.version)); err != nil {
			return err
		}
	}
	return &VersionError{Ours: w.version, Theirs: version}
}

// called looks at the protocols that a client offers to speak.
func (w *wire) called(offers []string) error {
	if slices.Contains(offers, protocol(w.version)) {
		return nil
	}
	for _, name := range offers {
		if v := versionOf(name); v > 0 {
			return w.meets(v)
		}
	}
	return ErrStranger
}
