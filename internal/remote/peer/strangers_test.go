package peer

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// stranger speaks over its end of a connection, and then hangs up.
type stranger func(t *testing.T, c net.Conn)

func says(text string) stranger {
	return func(_ *testing.T, c net.Conn) {
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	}
}

// saysOnly does not hang up until the other end does.
func saysOnly(text string) stranger {
	return func(_ *testing.T, c net.Conn) {
		_, _ = io.WriteString(c, text)
		_, _ = io.Copy(io.Discard, c)
	}
}

// calls is a TLS client that nothing of the server puts off.
func calls(c *tls.Config) stranger {
	c.InsecureSkipVerify = true
	return func(_ *testing.T, conn net.Conn) {
		_ = tls.Client(conn, c).Handshake()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// certificateOf is what a token's server shows.
func certificateOf(t testing.TB, of token) tls.Certificate {
	return aServer(t, of, Version).certificate
}

// answers is a TLS server with the certificate of a token; then says what it has to say once the client has proved itself.
func answers(of token, protocols []string, then func(proof []byte) []byte) stranger {
	return func(t *testing.T, conn net.Conn) {
		s := tls.Server(conn, &tls.Config{NextProtos: protocols, Certificates: []tls.Certificate{certificateOf(t, of)}})
		proof := make([]byte, 32)
		if _, err := io.ReadFull(s, proof); err == nil {
			_, _ = s.Write(then(proof))
		}
		_, _ = io.Copy(io.Discard, conn)
	}
}

// record is a TLS record that holds, or says that it holds, a handshake message's beginning.
func record(length, content string) string { return "\x16\x03\x01" + length + content }

var (
	browser = "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat(" ", 64)
	random  = strings.Repeat("\x00\xfe", 100)
	// A hello of 60,000 bytes, which TLS would put together from records of 16 KiB.
	hugeHello = record("\x40\x00", "\x01\x00\xea\x60"+strings.Repeat("x", 16380)) +
		strings.Repeat(record("\x40\x00", strings.Repeat("x", 16384)), 3)
	another = func() token { t, _ := parseToken(NewToken()); return t }()
	// unlike has a token's key, which anybody can see who calls, and not its secret.
	unlike = token{aToken.fingerprint, another.secret}
)

// encounter is a stranger and how the error begins that it leaves behind.
type encounter struct {
	does stranger
	says string
}

// turnedAway has an end meet strangers, all at the same time, for some take all the time that there is.
func turnedAway(t *testing.T, meet func(net.Conn) (*Link, error), strangers map[string]encounter) {
	ends := map[string]<-chan error{}
	for name, s := range strangers {
		a, b := sockets(t)
		end := make(chan error, 1)
		ends[name] = end
		go s.does(t, a)
		go func() { _, err := meet(b); end <- err }()
	}
	for name, s := range strangers {
		t.Run(name, func(t *testing.T) {
			if err := <-ends[name]; err == nil || !strings.HasPrefix(err.Error(), s.says) {
				t.Errorf("error %v, want %s", err, s.says)
			}
		})
	}
}

const noConnprof = "the other end does not speak connprof's protocol"

func TestAStrangerWhoCallsIsTurnedAway(t *testing.T) {
	t.Parallel()
	turnedAway(t, aServer(t, aToken, Version).Accept, map[string]encounter{
		"hangs up":                        {says(""), "it closed the control connection"},
		"says nothing":                    {saysOnly(""), "nothing came or went on the control connection for 5s"},
		"a browser":                       {says(browser), noConnprof},
		"a short word":                    {says("conn"), noConnprof},
		"random bytes":                    {says(random), noConnprof},
		"a plain greeting of its version": {says(string(greeting(Version))), noConnprof},
		"half a greeting, and waits":      {saysOnly(string(greeting(1)[:20])), "nothing came or went on the control connection for 5s"},
		"half a hello":                    {says(record("\x02\x00", "\x01\x00\x01\xfc")), "it closed the control connection"},
		"half a hello, and waits":         {saysOnly(record("\x02\x00", "\x01")), "nothing came or went on the control connection for 5s"},
		"a hello that is none":            {says(record("\x02\x00", strings.Repeat("\x00", 512))), noConnprof},
		"a hello of 60,000 bytes":         {says(hugeHello), noConnprof + ": it says more than 8192 bytes"},
		"a hello of 16 MiB":               {says(record("\x40\x00", "\x01\xff\xff\xff"+strings.Repeat("x", 16380))), noConnprof},
		"a record of 64 KiB":              {says(record("\xff\xff", random)), noConnprof},
		"TLS without a protocol":          {calls(&tls.Config{}), noConnprof},
		"another protocol":                {calls(&tls.Config{NextProtos: []string{"h2", "connprof/", "connprof/0x2"}}), noConnprof},
		"TLS 1.2": {calls(&tls.Config{NextProtos: []string{protocol(Version)}, MaxVersion: tls.VersionTLS12}),
			noConnprof},
		"no proof": {func(_ *testing.T, c net.Conn) {
			s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol(Version)}})
			_ = s.Handshake()
			_ = s.CloseWrite()
			_, _ = io.Copy(io.Discard, s)
		}, "it closed the control connection"},
		"a made-up proof": {func(_ *testing.T, c net.Conn) {
			s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol(Version)}})
			_, _ = s.Write(make([]byte, 32))
			_, _ = io.Copy(io.Discard, s)
		}, ErrToken.Error()},
	})
}

func TestAStrangerWhoListensIsToldNothing(t *testing.T) {
	t.Parallel()
	ours := []string{protocol(Version)}
	turnedAway(t, (&Client{aToken, Version}).Open, map[string]encounter{
		"hangs up":              {func(_ *testing.T, c net.Conn) { c.Close() }, "the other end hung up at once"},
		"says nothing":          {saysOnly(""), "nothing came or went on the control connection for 5s"},
		"a web server":          {says("HTTP/1.1 400 Bad Request\r\n\r\n"), noConnprof + "; is a connprof serve listening there?"},
		"a login":               {says("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"), noConnprof},
		"random bytes":          {says(random), noConnprof},
		"half a greeting":       {says(string(greeting(1)[:41])), noConnprof},
		"a server hello of 0s":  {says(record("\x02\x00", strings.Repeat("\x00", 512))), noConnprof},
		"a hello of 60,000":     {says(strings.Replace(hugeHello, "\x01\x00\xea", "\x02\x00\xea", 1)), noConnprof},
		"TLS without protocols": {answers(aToken, nil, nil), noConnprof},
		"another protocol":      {answers(aToken, []string{"h2"}, nil), noConnprof},
		"another certificate":   {answers(another, ours, nil), ErrKey.Error()},
		"a made-up proof":       {answers(aToken, ours, func([]byte) []byte { return make([]byte, 32) }), "the other end does not know the token"},
		"the client's own proof": {answers(aToken, ours, func(proof []byte) []byte { return proof }),
			"the other end does not know the token"},
		"no proof": {answers(aToken, ours, func([]byte) []byte { return nil }), "nothing came or went on the control connection for 5s"},
	})
}

func TestAWrongTokenIsToldAtBothEnds(t *testing.T) {
	for name, c := range map[string]struct {
		client         token
		nearly, farEnd error
	}{"of another server": {another, ErrKey, ErrToken}, "with another secret": {unlike, ErrToken, ErrToken}} {
		t.Run(name, func(t *testing.T) {
			client, server := meet(t, c.client, aToken, Version, Version)
			if !errors.Is(client.err, c.nearly) || !errors.Is(server.err, c.farEnd) {
				t.Errorf("errors %v and %v, want %v and %v", client.err, server.err, c.nearly, c.farEnd)
			}
		})
	}
}

func TestAnotherVersionIsToldAtBothEnds(t *testing.T) {
	for _, c := range [][2]int{{2, 7}, {7, 2}} {
		client, server := meet(t, aToken, aToken, c[0], c[1])
		tellsVersions(t, client.err, c[0], c[1])
		tellsVersions(t, server.err, c[1], c[0])
	}
}

func tellsVersions(t *testing.T, err error, ours, theirs int) {
	t.Helper()
	var v *VersionError
	if !errors.As(err, &v) || v.Ours != ours || v.Theirs != theirs {
		t.Errorf("error %v, want one with versions %d and %d", err, ours, theirs)
	}
}

// Version 1 began in plain text: its client with a greeting that its server answered by one, and hung up on everything else.
func TestVersionOneIsToldInWords(t *testing.T) {
	t.Run("calls", func(t *testing.T) {
		a, b := sockets(t)
		heard := make(chan []byte, 1)
		go func() {
			_, _ = a.Write(greeting(1))
			answer, _ := io.ReadAll(a)
			heard <- answer
		}()
		_, err := aServer(t, aToken, Version).Accept(b)
		tellsVersions(t, err, Version, 1)
		if answer := <-heard; string(answer) != string(greeting(Version)) {
			t.Errorf("it was told %q, want the greeting of version %d alone", answer, Version)
		}
	})
	t.Run("listens", func(t *testing.T) {
		a, b := sockets(t)
		go func() { _, _ = io.ReadFull(b, make([]byte, greetingBytes)); b.Close() }()
		_, err := (&Client{aToken, Version}).Open(a)
		if err == nil || !strings.Contains(err.Error(), "an older connprof") {
			t.Errorf("error %v, want one that names an older connprof", err)
		}
	})
	t.Run("greets", func(t *testing.T) {
		a, b := sockets(t)
		go says(string(greeting(1)))(t, b)
		_, err := (&Client{aToken, Version}).Open(a)
		tellsVersions(t, err, Version, 1)
	})
}

// memory is a connection to somebody who has said all that he has to say.
type memory struct {
	net.Conn
	said io.Reader
}

func (m memory) Read(b []byte) (int, error) { return m.said.Read(b) }

// FuzzStrangers has both ends listen to anything: nobody comes in by it, and neither end takes in more than a handshake.
func FuzzStrangers(f *testing.F) {
	for _, text := range []string{browser, random, string(greeting(1)), string(greeting(Version)), hugeHello,
		record("\x02\x00", "\x01\x00\x01\xfc")} {
		f.Add([]byte(text))
	}
	server, client := aServer(f, aToken, Version), &Client{aToken, Version}
	a, b := sockets(f)
	go func() { _, _ = io.Copy(io.Discard, b) }()
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, meet := range []func(*wire) (*tls.Conn, error){server.meet, client.meet} {
			left := strings.NewReader(string(said))
			w := newWire(memory{a, left}, Version, true)
			if _, err := meet(w); err == nil {
				t.Errorf("%q was believed", said)
			}
			if taken := len(said) - left.Len(); taken > handshakeBytes+1 {
				t.Errorf("%d bytes were taken in", taken)
			}
		}
	})
}
