package peer

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// between has somebody sit between two ends: what each says goes through pass, which has the number of the TLS record from 0
// and gives back what goes on. It returns the sockets of the two ends.
func between(t testing.TB, fromClient, fromServer func(n int, record []byte) []byte) (client, server net.Conn) {
	t.Helper()
	client, near := sockets(t)
	far, server := sockets(t)
	go relay(near, far, fromClient)
	go relay(far, near, fromServer)
	return client, server
}

func relay(from, to net.Conn, pass func(int, []byte) []byte) {
	defer to.(*net.TCPConn).CloseWrite()
	for n := 0; ; n++ {
		record := make([]byte, 5)
		if _, err := io.ReadFull(from, record); err != nil {
			return
		}
		record = append(record, make([]byte, binary.BigEndian.Uint16(record[3:]))...)
		if _, err := io.ReadFull(from, record[5:]); err != nil {
			return
		}
		if _, err := to.Write(pass(n, record)); err != nil {
			return
		}
	}
}

func unchanged(_ int, record []byte) []byte { return record }

// converse has two ends meet over sockets, and the client say its plan and the server its answer. It fails the test if either
// hears what was not said; errs are what ended each.
func converse(t *testing.T, a, b net.Conn) (errs [2]error) {
	t.Helper()
	client, server := meetOver(t, a, b, &Client{aToken, Version}, aServer(t, aToken, Version))
	var both sync.WaitGroup
	say := func(i int, o opened, said, expected Message) {
		if errs[i] = o.err; o.err != nil {
			return
		}
		both.Go(func() {
			defer o.link.Close()
			if errs[i] = o.link.Send(said); errs[i] != nil {
				return
			}
			heard := func(m Message) {
				if !reflect.DeepEqual(m, expected) {
					t.Errorf("%#v was said, and %#v heard", expected, m)
				}
			}
			select {
			case m := <-o.link.Messages():
				heard(m)
			case <-o.link.Done():
				select {
				case m := <-o.link.Messages(): // it was said before the end
					heard(m)
				default:
					errs[i] = o.link.Err()
				}
			}
		})
	}
	ready := &Ready{Host: "far", FirstPort: 8091, Backlog: 4096, Connections: 10}
	say(0, client, aRequest, ready)
	say(1, server, ready, aRequest)
	both.Wait()
	return errs
}

// listener keeps what goes by.
type listener struct {
	mu      sync.Mutex
	records [][]byte
}

func (l *listener) pass(_ int, record []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, bytes.Clone(record))
	return record
}

func TestNothingCrossesTheWireInPlainText(t *testing.T) {
	var fromClient, fromServer listener
	a, b := between(t, fromClient.pass, fromServer.pass)
	if errs := converse(t, a, b); errors.Join(errs[:]...) != nil {
		t.Fatal(errs)
	}
	fingerprint, secret := aToken.fingerprint, aToken.secret
	for _, l := range []*listener{&fromClient, &fromServer} {
		l.mu.Lock()
		defer l.mu.Unlock()
		for n, record := range l.records {
			// After the two hellos, and a byte that old middleboxes like, everything is application data to whoever looks on.
			if n > 0 && record[0] != 23 && !bytes.Equal(record, []byte("\x14\x03\x03\x00\x01\x01")) {
				t.Errorf("record %d is of type %d: %x", n, record[0], record)
			}
			for _, text := range []string{earlierToken[:8], string(secret[:8]), string(fingerprint[:8]), "192.0.2.1", "idle", "far"} {
				if bytes.Contains(record, []byte(text)) {
					t.Errorf("record %d has %q", n, text)
				}
			}
		}
	}
}

// known are the errors that two ends may leave behind which somebody in between disturbs.
func known(err error) bool {
	var lost *LostError
	var silent *SilentError
	switch {
	case errors.Is(err, ErrForged), errors.Is(err, ErrStranger), errors.Is(err, ErrToken), errors.As(err, &silent):
		return true
	case errors.As(err, &lost):
		return known(lost.Cause)
	}
	return strings.Contains(err.Error(), "it closed the control connection") || strings.Contains(err.Error(), "hung up at once")
}

// What each end says in TLS records before it says good-bye. The client: a hello, a byte for old middleboxes, that it is finished,
// its proof, its plan. The server: a hello, that byte, extensions, certificate, signature, that it is finished, its proof, its
// answer to the plan.
var recordsOf = [2]int{5, 8}

// disturbed has somebody change the records of each direction, one at a time, but for the first and last few, and wants an end
// to notice.
func disturbed(t *testing.T, first, last int, change func(record []byte) []byte) {
	for direction, end := range []string{"client", "server"} {
		for n := first; n < recordsOf[direction]-last; n++ {
			came := false
			ways := []func(int, []byte) []byte{unchanged, unchanged}
			ways[direction] = func(i int, record []byte) []byte {
				if i != n {
					return record
				}
				came = true
				return change(record)
			}
			a, b := between(t, ways[0], ways[1])
			errs := converse(t, a, b)
			if !came || errors.Join(errs[:]...) == nil {
				t.Errorf("record %d from the %s: nobody noticed", n, end)
			}
			for _, err := range errs {
				if err != nil && !known(err) {
					t.Errorf("record %d from the %s: the error is %v", n, end, err)
				}
			}
		}
	}
}

func TestAByteThatIsChangedOnItsWayIsNoticed(t *testing.T) {
	for name, at := range map[string]func(record []byte) int{
		"the type": func([]byte) int { return 0 }, "the first byte": func([]byte) int { return 5 },
		"one in the middle": func(r []byte) int { return 5 + (len(r)-5)/2 }, "the last byte": func(r []byte) int { return len(r) - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			disturbed(t, 0, 0, func(r []byte) []byte { r[at(r)] ^= 1; return r })
		})
	}
}

// The last record may be repeated when nobody listens any more.
func TestARecordThatIsRepeatedOrMadeUpIsNoticed(t *testing.T) {
	t.Run("repeated", func(t *testing.T) { disturbed(t, 2, 1, func(r []byte) []byte { return append(r, r...) }) })
	t.Run("made up", func(t *testing.T) {
		disturbed(t, 2, 0, func(r []byte) []byte { return append([]byte("\x17\x03\x03\x00\x20"+strings.Repeat("x", 32)), r...) })
	})
}

func TestARecordThatIsLeftOutIsNoticed(t *testing.T) {
	client, server := linkedThrough(t, func(n int, record []byte) []byte {
		if n == 5 {
			return nil
		}
		return record
	})
	for client.Send(&Bye{}) == nil {
	}
	<-server.Done()
	if !errors.Is(server.Err(), ErrForged) {
		t.Errorf("error %v, want ErrForged", server.Err())
	}
}

func linkedThrough(t *testing.T, fromClient func(int, []byte) []byte) (client, server *Link) {
	a, b := between(t, fromClient, unchanged)
	x, y := meetOver(t, a, b, &Client{aToken, Version}, aServer(t, aToken, Version))
	if x.err != nil || y.err != nil {
		t.Fatalf("the ends did not come together: %v, %v", x.err, y.err)
	}
	return x.link, y.link
}

// Somebody who has no more than a key of his own gets no word out of a client that holds it against the token.
func TestAManInTheMiddleWithAKeyOfHisOwnIsNoticed(t *testing.T) {
	a, near := sockets(t)
	far, b := sockets(t)
	heard := make(chan []byte, 1)
	go func() {
		s := tls.Server(near, &tls.Config{NextProtos: []string{protocol(Version)},
			Certificates: []tls.Certificate{certificateOf(t, another)}})
		c := tls.Client(far, &tls.Config{NextProtos: []string{protocol(Version)}, InsecureSkipVerify: true})
		_ = c.Handshake()
		text, _ := io.ReadAll(s)
		heard <- text
		_, _ = c.Write(text)
		c.Close()
		s.Close()
	}()
	client, server := meetOver(t, a, b, &Client{aToken, Version}, aServer(t, aToken, Version))
	if !errors.Is(client.err, ErrKey) {
		t.Errorf("the client's error is %v, want ErrKey", client.err)
	}
	if server.err == nil || server.err.Error() != "it closed the control connection" {
		t.Errorf("the server's error is %v", server.err)
	}
	if text := <-heard; len(text) > 0 {
		t.Errorf("he has heard %q", text)
	}
}

// A proof is worth nothing outside the session that it was made for, not even to somebody who has the server's key.
func TestAProofOfAnotherSessionIsRefused(t *testing.T) {
	proof := make(chan []byte, 1)
	a, b := sockets(t)
	go answers(aToken, []string{protocol(Version)}, func(p []byte) []byte { proof <- slices.Clone(p); return nil })(t, b)
	go func() { _, _ = (&Client{aToken, Version}).Open(a) }()

	c, d := sockets(t)
	go func() {
		s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol(Version)}})
		_, _ = s.Write(<-proof)
	}()
	if _, err := aServer(t, aToken, Version).Accept(d); !errors.Is(err, ErrToken) {
		t.Errorf("error %v, want ErrToken", err)
	}
}
