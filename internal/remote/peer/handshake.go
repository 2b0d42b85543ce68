package peer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// Each end begins with the same 42 bytes in every version of the protocol: magic, version, nonce. So two ends of
// different versions can tell each other so.
const (
	magic         = "connprof"
	nonceBytes    = 32
	greetingBytes = len(magic) + 2 + nonceBytes
)

type greeting struct {
	version int
	nonce   []byte
}

func newGreeting(version int) greeting {
	g := greeting{version: version, nonce: make([]byte, nonceBytes)}
	_, _ = rand.Read(g.nonce) // never fails
	return g
}

func (g greeting) write(w io.Writer) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16([]byte(magic), uint16(g.version)), g.nonce...))
	return err
}

func readGreeting(r io.Reader) (greeting, error) {
	b := make([]byte, greetingBytes)
	n, err := io.ReadFull(r, b)
	if !bytes.HasPrefix([]byte(magic), b[:min(n, len(magic))]) || err != nil && n > 0 {
		return greeting{}, ErrStranger
	}
	if err != nil {
		return greeting{}, err
	}
	return greeting{int(binary.BigEndian.Uint16(b[len(magic):])), b[len(magic)+2:]}, nil
}

// The codes that prove the token, and the key of the frames, are made for different purposes from the same nonces.
const (
	clientName = "client"
	serverName = "server"
	frameName  = "frames"
)

func (s *secrets) code(purpose string) []byte {
	return code([]byte(s.token), []byte(purpose), s.client, s.server)
}

// secrets are what both ends know once they have greeted each other, if they have the same token.
type secrets struct {
	token          string
	client, server []byte // nonces
}

// Dial turns a connection to a serve into a link. It closes the connection when it fails.
func Dial(c net.Conn, token string) (*Link, error) { return open(c, token, Version, asClient) }

// Accept turns a connection from a run into a link, or refuses it in time. It closes the connection when it fails.
func Accept(c net.Conn, token string) (*Link, error) { return open(c, token, Version, asServer) }

func open(c net.Conn, token string, version int, as func(net.Conn, string, int) (*Link, error)) (*Link, error) {
	_ = c.SetDeadline(time.Now().Add(handshakeTime))
	l, err := as(c, token, version)
	if err != nil {
		_ = c.Close()
		return nil, plain(err, handshakeTime)
	}
	_ = c.SetDeadline(time.Time{})
	l.begin()
	return l, nil
}

func asClient(c net.Conn, token string, version int) (*Link, error) {
	ours := newGreeting(version)
	if err := ours.write(c); err != nil {
		return nil, err
	}
	theirs, err := readGreeting(c)
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the other end hung up at once; it may have too many callers just now, or be no connprof serve")
	case err != nil:
		return nil, err
	case theirs.version != version:
		return nil, &VersionError{version, theirs.version}
	}
	s := &secrets{token, ours.nonce, theirs.nonce}
	if _, err := c.Write(s.code(clientName)); err != nil {
		return nil, err
	}
	answer := make([]byte, macBytes)
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, ErrToken // a server that knows another token hangs up
	}
	if !hmac.Equal(answer, s.code(serverName)) {
		return nil, errors.New("the other end does not know the token; is that the right connprof serve?")
	}
	return newLink(c, s, clientName, serverName), nil
}

func asServer(c net.Conn, token string, version int) (*Link, error) {
	theirs, err := readGreeting(c)
	if err != nil {
		return nil, err
	}
	ours := newGreeting(version)
	if err := ours.write(c); err != nil {
		return nil, err
	}
	if theirs.version != version {
		return nil, &VersionError{version, theirs.version}
	}
	s := &secrets{token, theirs.nonce, ours.nonce}
	answer := make([]byte, macBytes)
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, err
	}
	if !hmac.Equal(answer, s.code(clientName)) {
		return nil, ErrToken
	}
	if _, err := c.Write(s.code(serverName)); err != nil {
		return nil, err
	}
	return newLink(c, s, serverName, clientName), nil
}
