package peer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sockets are the two ends of a connection.
func sockets(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

type opened struct {
	link *Link
	err  error
}

// meet has two ends meet, each with its token and version.
func meet(t testing.TB, clientToken, serverToken token, clientVersion, serverVersion int) (client, server opened) {
	t.Helper()
	a, b := sockets(t)
	return meetOver(t, a, b, &Client{clientToken, clientVersion}, aServer(t, serverToken, serverVersion))
}

func aServer(t testing.TB, of token, version int) *Server {
	t.Helper()
	s, err := NewServer(of.String())
	if err != nil {
		t.Fatal(err)
	}
	s.version = version
	return s
}

// meetOver has two ends meet, each over its end of a connection.
func meetOver(t testing.TB, a, b net.Conn, c *Client, s *Server) (client, server opened) {
	t.Helper()
	done := make(chan opened, 1)
	go func() {
		l, err := s.Accept(b)
		done <- opened{l, err}
	}()
	l, err := c.Open(a)
	client, server = opened{l, err}, <-done
	for _, o := range []opened{client, server} {
		if o.link != nil {
			t.Cleanup(o.link.Close)
		}
	}
	return client, server
}

func linked(t testing.TB) (client, server *Link) {
	t.Helper()
	a, b := meet(t, aToken, aToken, Version, Version)
	if a.err != nil || b.err != nil {
		t.Fatalf("the ends did not come together: %v, %v", a.err, b.err)
	}
	return a.link, b.link
}

func TestSilenceLastsUntilSomethingComesIn(t *testing.T) {
	client, server := linked(t)
	begun := time.Now()
	if err := client.Send(&Bye{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Await[*Bye](server, time.Minute, Unexpected); err != nil {
		t.Fatal(err)
	}
	if s := server.Silence(); s > time.Since(begun) {
		t.Errorf("silent for %v, and something came in %v ago at most", s, time.Since(begun))
	}
}

// parted is a link whose other end has proved itself, and then neither reads nor hangs up.
func parted(t testing.TB) *Link {
	t.Helper()
	a, b := sockets(t)
	go func() { _, _ = (&Client{aToken, Version}).meet(newWire(a, Version, false)) }()
	l, err := aServer(t, aToken, Version).Accept(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnEndThatNeverHangsUpDoesNotKeepTheOther(t *testing.T) {
	l := parted(t)
	l.Close()
	if err := l.Send(&Bye{}); err == nil {
		t.Error("something was sent over a link that is closed")
	}
}

// What is said last has to wait for what is being said, and that for an end that does not read.
func TestAnEndThatDoesNotReadDoesNotKeepTheOther(t *testing.T) {
	l := parted(t)
	sent, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if err := l.Send(&Chunk{make([]byte, chunkBytes)}); err != nil {
				ended <- err
				return
			}
			select {
			case sent <- struct{}{}:
			case <-l.Done(): // nobody counts any more
			}
		}
	}()
	for full := false; !full; {
		select {
		case <-sent:
		case <-time.After(200 * time.Millisecond):
			full = true
		}
	}
	l.Close()
	var lost *LostError
	if err := <-ended; !errors.As(err, &lost) {
		t.Errorf("what was being sent ended by %v, want a LostError", err)
	}
}

var aRequest = &Request{Host: "box", Program: "1.0", Clients: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Connections: 10,
	Ports: 1, Scenario: "idle"}

func TestEveryMessageArrivesAsItWasSent(t *testing.T) {
	client, server := linked(t)
	for _, m := range []Message{aRequest, &Ready{Host: "far", FirstPort: 8091, Backlog: 4096, Connections: 10},
		&Refusal{Reason: "no"}, &Begin{}, &Begun{}, &Rest{5}, &Rested{5, "x", ""},
		&Act{1}, &Acted{"y"}, &Measure{}, &Chunk{[]byte{0, 1, 255}}, &Measured{3, ""}, &Taken{}, &Bye{}} {
		for _, way := range []struct{ from, to *Link }{{client, server}, {server, client}} {
			if err := way.from.Send(m); err != nil {
				t.Fatal(err)
			}
			if got := <-way.to.Messages(); !reflect.DeepEqual(got, m) {
				t.Errorf("sent %#v, and %#v came", m, got)
			}
		}
	}
}

func TestProgressGoesToWhoWantsIt(t *testing.T) {
	client, server := linked(t)
	got := make(chan Progress, 1)
	server.OnProgress(func(p *Progress) { got <- *p })
	want := Progress{Attempted: 3, Stop: "memory"}
	if err := client.Send(&want); err != nil {
		t.Fatal(err)
	}
	if p := <-got; p != want {
		t.Errorf("sent %+v, and %+v came", want, p)
	}
}

func TestARecordingArrivesWhole(t *testing.T) {
	client, server := linked(t)
	want := bytes.Repeat([]byte("recording, which does not shrink to nothing: \x00\xff"), 50_000)
	go func() { _ = server.SendRecording(want) }()
	got, err := client.ReceiveRecording(time.Minute, Unexpected)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came of %d: %v", len(got), len(want), err)
	}
}

func TestARecordingThatUnpacksWithoutEndIsRefused(t *testing.T) {
	client, server := linked(t)
	const member = 1 << 20
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(make([]byte, member)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	endless := bytes.Repeat(packed.Bytes(), maxUnpacked/member+1) // what is packed may be one piece after another
	go func() {
		for piece := range slices.Chunk(endless, chunkBytes) {
			_ = server.Send(&Chunk{piece})
		}
		_ = server.Send(&Measured{Bytes: len(endless)})
	}()
	if _, err := client.ReceiveRecording(time.Minute, Unexpected); err == nil || !strings.Contains(err.Error(), "unpacked") {
		t.Errorf("error %v, want one about the unpacked size", err)
	}
}

func TestAPeerThatHangsUpIsLost(t *testing.T) {
	client, server := linked(t)
	server.Close()
	<-client.Done()
	var lost *LostError
	if !errors.As(client.Err(), &lost) || !strings.Contains(lost.Error(), "closed the control connection") {
		t.Errorf("error %v, want a LostError that says so", client.Err())
	}
	if err := client.Send(&Bye{}); !errors.As(err, &lost) {
		t.Errorf("sent to nobody: %v", err)
	}
	if _, err := Await[*Bye](client, time.Minute, Unexpected); !errors.As(err, &lost) {
		t.Errorf("waited for nobody: %v", err)
	}
}

// A server that refuses a session does so while its client, which has just proved itself, says what it wants.
func TestLastWordsReachAnEndThatIsTalking(t *testing.T) {
	for range 50 {
		client, server := linked(t)
		if err := server.Send(&Refusal{Reason: "full"}); err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() { server.Close(); close(closed) }()
		var sent error
		for sent == nil {
			sent = client.Send(aRequest)
		}
		_, awaited := Await[*Ready](client, time.Minute, Unexpected)
		for _, err := range []error{sent, awaited} {
			var refusal *RefusedError
			if !errors.As(err, &refusal) || refusal.Reason != "full" {
				t.Fatalf("the client was told %v, want that the server is full", err)
			}
		}
		<-closed
	}
}

func TestMessagesThatSayTheImpossibleAreRefused(t *testing.T) {
	address := func(a ...string) (list []netip.Addr) {
		for _, s := range a {
			list = append(list, netip.MustParseAddr(s))
		}
		return list
	}
	with := func(change func(*Request)) *Request { p := *aRequest; change(&p); return &p }
	for name, m := range map[string]Message{
		"no address":            with(func(p *Request) { p.Clients = nil }),
		"an invalid one":        with(func(p *Request) { p.Clients = []netip.Addr{{}} }),
		"two families":          with(func(p *Request) { p.Clients = address("192.0.2.1", "2001:db8::1") }),
		"a zone":                with(func(p *Request) { p.Clients = address("fe80::1%eth0") }),
		"all addresses":         with(func(p *Request) { p.Clients = address("0.0.0.0") }),
		"IPv4 in IPv6":          with(func(p *Request) { p.Clients = address("::ffff:192.0.2.1") }),
		"no connection":         with(func(p *Request) { p.Connections = 0 }),
		"too many":              with(func(p *Request) { p.Connections = MaxConnections + 1 }),
		"ports below nothing":   with(func(p *Request) { p.Ports = -1 }),
		"a negative payload":    with(func(p *Request) { p.Payload = -1 }),
		"an escape sequence":    with(func(p *Request) { p.Host = "\x1b[2J" }),
		"a long text":           &Refusal{strings.Repeat("x", maxText+1)},
		"a port beyond":         &Ready{FirstPort: 70_000, Backlog: 1, Connections: 1},
		"a negative count":      &Progress{Established: -1},
		"an endless recording":  &Measured{Bytes: maxRecording + 1},
		"a negative connection": &Rested{Connections: -1},
	} {
		if m.check() == nil {
			t.Errorf("%s was accepted: %+v", name, m)
		}
	}
}

func TestTextIsMadeFitForAMessage(t *testing.T) {
	for _, text := range []string{"plain", "two\nlines", "\x1b[31mred", strings.Repeat("é", 2000), "bad \xff utf-8"} {
		if err := checkTexts(Text(text)); err != nil {
			t.Errorf("Text(%.20q) is refused: %v", text, err)
		}
	}
}
