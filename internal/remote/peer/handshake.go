package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// Client is the end that calls a Server.
type Client struct {
	token   token
	version int
}

// NewClient is the client that a token lets in. It is to be made before the server is called: where the kernel has not yet
// gathered enough randomness, as on a machine that has just been booted, it waits for that (getrandom(2)), and not while the
// server's patience runs out.
func NewClient(text string) (*Client, error) {
	t, err := parseToken(text)
	if err != nil {
		return nil, err
	}
	_, _ = rand.Read(make([]byte, 1)) // once one byte has come, none is waited for any more
	return &Client{token: t, version: Version}, nil
}

// Server is the end that a Client calls.
type Server struct {
	token       token
	version     int
	certificate tls.Certificate
}

// NewServer makes the server that a token names, with a certificate that is kept in memory alone. It is to be made before
// anybody can call, for the reason that NewClient has.
func NewServer(text string) (*Server, error) {
	t, err := parseToken(text)
	if err != nil {
		return nil, err
	}
	key := t.key()
	// Nobody looks at anything in it but the key.
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	_, _ = rand.Read(make([]byte, 1)) // as in NewClient: an Ed25519 certificate takes no random byte
	return &Server{token: t, version: Version, certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

// Open turns a connection to a serve into a link. It closes the connection when it fails.
func (c *Client) Open(conn net.Conn) (*Link, error) {
	return open(newWire(conn, c.version, false), c.meet)
}

// Accept turns a connection from a run into a link, or refuses it in time. It closes the connection when it fails.
func (s *Server) Accept(conn net.Conn) (*Link, error) {
	return open(newWire(conn, s.version, true), s.meet)
}

func open(w *wire, meet func(*wire) (*tls.Conn, error)) (*Link, error) {
	_ = w.SetDeadline(time.Now().Add(handshakeTime))
	t, err := meet(w)
	if err != nil {
		_ = w.Close()
		return nil, plain(err, handshakeTime)
	}
	_ = w.SetDeadline(time.Time{})
	w.known = true
	l := newLink(t)
	l.begin()
	return l, nil
}

func (c *Client) meet(w *wire) (*tls.Conn, error) {
	t := tls.Client(w, c.config())
	err := t.Handshake()
	switch {
	case err == nil:
		return t, c.prove(t)
	case hungUp(err) && !w.heard:
		return nil, errors.New("the other end hung up at once; it may have too many callers just now, be an older connprof, or be " +
			"no connprof serve")
	}
	if err = unmet(err); errors.Is(err, ErrStranger) {
		err = fmt.Errorf("%w; is a connprof serve listening there?", err)
	}
	return nil, err
}

// config has TLS take the server that the token names, and no other.
func (c *Client) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{protocol(c.version)},
		InsecureSkipVerify: true, // nobody vouches for the key: it is known
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != protocol(c.version) {
				return ErrStranger
			}
			theirs := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if !hmac.Equal(theirs[:], c.token.fingerprint[:]) {
				return ErrKey
			}
			return nil
		}}
}

// prove shows the server that the secret is known here, and has it show the same.
func (c *Client) prove(t *tls.Conn) error {
	ours, theirs, err := c.token.proofs(t.ConnectionState())
	if err != nil {
		return err
	}
	if _, err := t.Write(ours); err != nil {
		return err
	}
	answer := make([]byte, len(theirs))
	_, err = io.ReadFull(t, answer)
	switch {
	case hungUp(err):
		return ErrToken // a server that knows another token hangs up
	case err == nil && !hmac.Equal(answer, theirs):
		return errors.New("the other end does not know the token; is that the right connprof serve?")
	}
	return err
}

func (s *Server) meet(w *wire) (*tls.Conn, error) {
	t := tls.Server(w, s.config(w))
	if err := t.Handshake(); err != nil {
		return nil, unmet(err)
	}
	return t, s.prove(t)
}

func (s *Server) config(w *wire) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{protocol(s.version)},
		Certificates: []tls.Certificate{s.certificate}, SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, w.called(hello.SupportedProtos)
		}}
}

// prove has the client show that it knows the secret, and then does the same.
func (s *Server) prove(t *tls.Conn) error {
	theirs, ours, err := s.token.proofs(t.ConnectionState())
	if err != nil {
		return err
	}
	answer := make([]byte, len(theirs))
	if _, err := io.ReadFull(t, answer); err != nil {
		return err
	}
	if !hmac.Equal(answer, theirs) {
		return ErrToken
	}
	_, err = t.Write(ours)
	return err
}
