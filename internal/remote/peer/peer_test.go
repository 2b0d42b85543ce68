package peer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const testToken = "0123456789abcdef0123456789abcdef"

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

// meet has two ends greet each other, each with its token and version.
func meet(t testing.TB, clientToken, serverToken string, clientVersion, serverVersion int) (client, server opened) {
	t.Helper()
	a, b := sockets(t)
	done := make(chan opened, 1)
	go func() {
		l, err := open(b, serverToken, serverVersion, asServer)
		done <- opened{l, err}
	}()
	l, err := open(a, clientToken, clientVersion, asClient)
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
	a, b := meet(t, testToken, testToken, Version, Version)
	if a.err != nil || b.err != nil {
		t.Fatalf("the ends did not come together: %v, %v", a.err, b.err)
	}
	return a.link, b.link
}

var aPlan = &Plan{Host: "box", Program: "1.0", Clients: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Connections: 10,
	Ports: 1, Scenario: "idle"}

func TestEveryMessageArrivesAsItWasSent(t *testing.T) {
	client, server := linked(t)
	for _, m := range []Message{aPlan, &Ready{Host: "far", FirstPort: 8091, Backlog: 4096, Connections: 10},
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
	go func() { _ = server.SendRecording(make([]byte, maxUnpacked+1)) }()
	if _, err := client.ReceiveRecording(time.Minute, Unexpected); err == nil || !strings.Contains(err.Error(), "unpacked") {
		t.Errorf("error %v, want one about the unpacked size", err)
	}
}

func TestAWrongTokenIsToldAtBothEnds(t *testing.T) {
	client, server := meet(t, "another token, wrong", testToken, Version, Version)
	for _, o := range []opened{client, server} {
		if !errors.Is(o.err, ErrToken) {
			t.Errorf("error %v, want ErrToken", o.err)
		}
	}
}

func TestAnotherVersionIsToldAtBothEnds(t *testing.T) {
	client, server := meet(t, testToken, testToken, 1, 7)
	for _, c := range []struct {
		o            opened
		ours, theirs int
	}{{client, 1, 7}, {server, 7, 1}} {
		var v *VersionError
		if !errors.As(c.o.err, &v) || v.Ours != c.ours || v.Theirs != c.theirs {
			t.Errorf("error %v, want one with versions %d and %d", c.o.err, c.ours, c.theirs)
		}
	}
}

// wire keeps what goes by.
type wire struct {
	net.Conn
	seen bytes.Buffer
}

func (w *wire) Write(b []byte) (int, error) { w.seen.Write(b); return w.Conn.Write(b) }

func TestTheTokenNeverCrossesTheWire(t *testing.T) {
	a, b := sockets(t)
	near, far := &wire{Conn: a}, &wire{Conn: b}
	done := make(chan error, 1)
	go func() { _, err := Accept(far, testToken); done <- err }()
	l, err := Dial(near, testToken)
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, w := range []*wire{near, far} {
		if bytes.Contains(w.seen.Bytes(), []byte(testToken[:8])) {
			t.Error("the token went over the wire")
		}
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	for name, text := range map[string]string{"a browser": "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat(" ", 64),
		"a short one": "conn", "a random one": strings.Repeat("\x00\xfe", 100)} {
		t.Run(name, func(t *testing.T) {
			a, b := sockets(t)
			go func() { _, _ = io.WriteString(a, text); _ = a.(*net.TCPConn).CloseWrite() }()
			if _, err := Accept(b, testToken); !errors.Is(err, ErrStranger) {
				t.Errorf("error %v, want ErrStranger", err)
			}
		})
		t.Run(name+" that listens", func(t *testing.T) {
			a, b := sockets(t)
			go func() { _, _ = io.WriteString(a, text); _ = a.(*net.TCPConn).CloseWrite() }()
			if _, err := Dial(b, testToken); !errors.Is(err, ErrStranger) {
				t.Errorf("error %v, want ErrStranger", err)
			}
		})
	}
}

func TestACallerThatHangsUpIsToldInWords(t *testing.T) {
	a, b := sockets(t)
	a.Close()
	if _, err := Accept(b, testToken); err == nil || err.Error() != "it closed the control connection" {
		t.Errorf("error %v, want that the caller hung up", err)
	}
}

func TestAChangedFrameEndsTheLink(t *testing.T) {
	var sent bytes.Buffer
	d := direction{key: []byte("k"), name: "client"}
	if err := d.write(&sent, aPlan); err != nil {
		t.Fatal(err)
	}
	for i := range sent.Len() {
		b := bytes.Clone(sent.Bytes())
		b[i] ^= 1
		in := direction{key: []byte("k"), name: "client"}
		if m, err := in.read(bytes.NewReader(b), frameBytes); err == nil {
			t.Fatalf("with byte %d changed %#v was believed", i, m)
		}
	}
	for _, in := range []direction{{key: []byte("k"), name: "server"}, {key: []byte("l"), name: "client"},
		{key: []byte("k"), name: "client", sent: 1}} {
		if _, err := in.read(bytes.NewReader(sent.Bytes()), frameBytes); !errors.Is(err, ErrForged) {
			t.Errorf("a frame for another reader than %+v was believed: %v", in, err)
		}
	}
}

func TestALengthAloneAllocatesNothing(t *testing.T) {
	for kind := range 256 {
		in := direction{key: []byte("k"), name: "client"}
		claim := []byte{byte(kind), 0x7f, 0xff, 0xff, 0xff}
		if _, err := in.read(bytes.NewReader(claim), frameBytes); !errors.Is(err, ErrForged) {
			t.Errorf("kind %d: error %v for a frame of 2 GiB", kind, err)
		}
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

// A server that refuses a session does so while its client, which has just proved itself, tells its plan.
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
			sent = client.Send(aPlan)
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

func TestAnEndThatNeverHangsUpDoesNotKeepTheOther(t *testing.T) {
	a, b := sockets(t)
	go func() { _, _ = open(a, testToken, Version, asClient) }()
	server, err := open(neverParts{b}, testToken, Version, asServer)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if err := server.Send(&Bye{}); err == nil {
		t.Error("something was sent over a link that is closed")
	}
}

// neverParts is a connection whose other end is not told that this one has said its last word.
type neverParts struct{ net.Conn }

func (neverParts) CloseWrite() error { return nil }

func TestMessagesThatSayTheImpossibleAreRefused(t *testing.T) {
	address := func(a ...string) (list []netip.Addr) {
		for _, s := range a {
			list = append(list, netip.MustParseAddr(s))
		}
		return list
	}
	with := func(change func(*Plan)) *Plan { p := *aPlan; change(&p); return &p }
	for name, m := range map[string]Message{
		"no address":            with(func(p *Plan) { p.Clients = nil }),
		"an invalid one":        with(func(p *Plan) { p.Clients = []netip.Addr{{}} }),
		"two families":          with(func(p *Plan) { p.Clients = address("192.0.2.1", "2001:db8::1") }),
		"a zone":                with(func(p *Plan) { p.Clients = address("fe80::1%eth0") }),
		"all addresses":         with(func(p *Plan) { p.Clients = address("0.0.0.0") }),
		"IPv4 in IPv6":          with(func(p *Plan) { p.Clients = address("::ffff:192.0.2.1") }),
		"no connection":         with(func(p *Plan) { p.Connections = 0 }),
		"too many":              with(func(p *Plan) { p.Connections = MaxConnections + 1 }),
		"no port":               with(func(p *Plan) { p.Ports = 0 }),
		"too many ports":        with(func(p *Plan) { p.Ports = MaxPorts + 1 }),
		"a negative payload":    with(func(p *Plan) { p.Payload = -1 }),
		"an escape sequence":    with(func(p *Plan) { p.Host = "\x1b[2J" }),
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

func TestTokensAreRandomAndLongEnough(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b || CheckToken(a) != nil || len(a) != 32 {
		t.Errorf("tokens %q and %q", a, b)
	}
	if CheckToken("hunter2") == nil {
		t.Error("a short token was accepted")
	}
}

// FuzzDecode has decode look at anything: it neither panics nor lets through what a message may not say.
func FuzzDecode(f *testing.F) {
	f.Add(byte(2), []byte(`{"clients":["192.0.2.1"],"connections":1,"ports":1}`))
	f.Add(byte(6), []byte(`{"attempted":1e9,"stop":"\u001b"}`))
	f.Add(byte(12), []byte(`{"Data":"AAEC"}`))
	f.Add(byte(0), []byte(`{}`))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		m, err := decode(kind, body)
		if err != nil {
			return
		}
		if err := m.check(); err != nil {
			t.Errorf("%+v came through: %v", m, err)
		}
	})
}

// FuzzRead has a frame's reader look at anything behind a right code, and at anything without one.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, '{', '}'})
	f.Add([]byte("connprof"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := direction{key: []byte("k"), name: "client"}
		if m, err := in.read(bytes.NewReader(b), frameBytes); err == nil {
			t.Errorf("%+v was believed without a code", m)
		}
		if _, err := readGreeting(bytes.NewReader(b)); err == nil && !bytes.HasPrefix(b, []byte(magic)) {
			t.Errorf("%q was taken for a greeting", b)
		}
	})
}
