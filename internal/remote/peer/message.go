package peer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"unicode"
)

// Message is one of the types below.
type Message interface{ check() error }

// Request is the first thing a client says: what it is going to open.
type Request struct {
	Host        string       `json:"host"`
	Program     string       `json:"program"` // version of connprof
	Clients     []netip.Addr `json:"clients"` // connections will come from no other address
	Connections int          `json:"connections"`
	Exact       bool         `json:"exact"` // somebody asked for that number: fewer will not do
	Ports       int          `json:"ports"` // how many the server is to listen on
	Scenario    string       `json:"scenario"`
	Payload     int          `json:"payload"`
	Profile     bool         `json:"profile"`
}

// Ready is the server's answer once it listens.
type Ready struct {
	Host        string `json:"host"`
	Program     string `json:"program"`
	Boot        string `json:"boot"`       // of the running kernel, empty where it is not known
	FirstPort   int    `json:"first_port"` // of as many as were asked for
	Backlog     int    `json:"backlog"`    // of each port, as the server's kernel allows it
	Connections int    `json:"connections"`
	Capped      string `json:"capped"` // why it is less than what was asked for
}

// Refusal ends a session before it has begun.
type Refusal struct {
	Reason string `json:"reason"`
}

// Begin asks the server to take its first look at the kernel; it answers with Begun, and connections may come.
type (
	Begin struct{}
	Begun struct{}
)

// Progress is what an end knows of the connections, whenever that has changed.
type Progress struct {
	Attempted   int    `json:"attempted,omitempty"`
	Established int    `json:"established,omitempty"`
	Failed      int    `json:"failed,omitempty"`
	Accepted    int    `json:"accepted,omitempty"`
	Stop        string `json:"stop,omitempty"` // open no more, because of this
}

// Rest says that the first connections are up and rest. The server looks at them closely and answers with Rested.
type (
	Rest   struct{ Connections int }
	Rested struct {
		Connections int    // that the server now expects to hold
		Capped      string // why these are fewer than before
		Problem     string
	}
)

// Act asks for a step of the scenario: the server does it where it is the server's, and takes note where it is not.
type (
	Act   struct{ Step int }
	Acted struct{ Problem string }
)

// Measure asks for the server's account, which comes as Chunks and ends with Measured.
type (
	Measure  struct{}
	Chunk    struct{ Data []byte }
	Measured struct {
		Bytes   int
		Problem string
	}
)

// Taken says that the server's account has come and is understood; Bye ends a session in peace; Alive says nothing else.
type (
	Taken struct{}
	Bye   struct{}
	Alive struct{}
)

const (
	smallBytes = 1 << 10
	frameBytes = 64 << 10
	// chunkBytes leaves room for JSON's way of writing bytes.
	chunkBytes = 45 << 10
)

// kinds is every message that there is, by the byte that names it, with its most bytes.
var kinds = []struct {
	make func() Message
	most int
}{
	1:  {func() Message { return &Refusal{} }, 4 << 10},
	2:  {func() Message { return &Request{} }, frameBytes},
	3:  {func() Message { return &Ready{} }, 4 << 10},
	4:  {func() Message { return &Begin{} }, smallBytes},
	5:  {func() Message { return &Begun{} }, smallBytes},
	6:  {func() Message { return &Progress{} }, 4 << 10},
	7:  {func() Message { return &Rest{} }, smallBytes},
	8:  {func() Message { return &Rested{} }, 4 << 10},
	9:  {func() Message { return &Act{} }, smallBytes},
	10: {func() Message { return &Acted{} }, 4 << 10},
	11: {func() Message { return &Measure{} }, smallBytes},
	12: {func() Message { return &Chunk{} }, frameBytes},
	13: {func() Message { return &Measured{} }, 4 << 10},
	14: {func() Message { return &Bye{} }, smallBytes},
	15: {func() Message { return &Alive{} }, smallBytes},
	16: {func() Message { return &Taken{} }, smallBytes},
}

// mostOf is how long a message of a kind may be, 0 for a kind that there is not.
func mostOf(kind byte) int {
	if int(kind) >= len(kinds) {
		return 0
	}
	return kinds[kind].most
}

// kindOf is the byte that names each type of message.
var kindOf = func() map[reflect.Type]byte {
	bytes := map[reflect.Type]byte{}
	for k := 1; k < len(kinds); k++ {
		bytes[reflect.TypeOf(kinds[k].make())] = byte(k)
	}
	return bytes
}()

// decode makes a message of what came in.
func decode(kind byte, body []byte) (Message, error) {
	if most := mostOf(kind); most == 0 || len(body) > most {
		return nil, fmt.Errorf("a message of kind %d with %d bytes", kind, len(body))
	}
	m := kinds[kind].make()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(m)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("something follows it")
		}
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fmt.Errorf("a message of kind %d: %w", kind, err)
	}
	return m, nil
}

// The bounds of what a message may say, whoever says it.
const (
	// MaxClients addresses with gaps between them still fit into one socket filter (BPF_MAXINSNS).
	MaxClients     = 254
	MaxConnections = 1<<31 - 1
	maxText        = 1000
)

// checkTexts keeps what a terminal would obey, and what would fill it, out of what a peer says.
func checkTexts(texts ...string) error {
	for _, t := range texts {
		if len(t) > maxText || strings.ContainsFunc(t, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errors.New("a text that is too long, or not for printing")
		}
	}
	return nil
}

// Text makes a text fit for a message.
func Text(t string) string {
	t = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(t, "?"))
	for len(t) > maxText {
		runes := []rune(t)
		t = string(runes[:min(len(runes)-1, maxText)])
	}
	return t
}

func checkCounts(counts ...int) error {
	for _, n := range counts {
		if n < 0 || n > MaxConnections {
			return fmt.Errorf("%d of something", n)
		}
	}
	return nil
}

func (r *Request) check() error {
	if len(r.Clients) < 1 || len(r.Clients) > MaxClients {
		return fmt.Errorf("%d client addresses", len(r.Clients))
	}
	for _, a := range r.Clients {
		if !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() ||
			a.Is4() != r.Clients[0].Is4() {
			return fmt.Errorf("the client address %s", Text(a.String()))
		}
	}
	if r.Connections < 1 {
		return errors.New("no connection")
	}
	// Which ports, payloads and scenarios make sense is for whoever makes the run to say.
	return errors.Join(checkCounts(r.Connections, r.Ports, r.Payload), checkTexts(r.Host, r.Program, r.Scenario))
}

func (r *Ready) check() error {
	if r.FirstPort < 1 || r.FirstPort > 65535 || r.Backlog < 1 || r.Connections < 1 {
		return errors.New("a port, a backlog or a number of connections that cannot be")
	}
	return errors.Join(checkCounts(r.Connections, r.Backlog), checkTexts(r.Host, r.Program, r.Boot, r.Capped))
}

func (p *Progress) check() error {
	return errors.Join(checkCounts(p.Attempted, p.Established, p.Failed, p.Accepted), checkTexts(p.Stop))
}

func (r *Rested) check() error {
	return errors.Join(checkCounts(r.Connections), checkTexts(r.Capped, r.Problem))
}

func (m *Measured) check() error {
	if m.Bytes > maxRecording {
		return fmt.Errorf("a recording of %d bytes", m.Bytes)
	}
	return errors.Join(checkCounts(m.Bytes), checkTexts(m.Problem))
}

func (r *Refusal) check() error { return checkTexts(r.Reason) }
func (r *Rest) check() error    { return checkCounts(r.Connections) }
func (a *Act) check() error     { return checkCounts(a.Step) }
func (a *Acted) check() error   { return checkTexts(a.Problem) }
func (*Begin) check() error     { return nil }
func (*Begun) check() error     { return nil }
func (*Measure) check() error   { return nil }
func (*Chunk) check() error     { return nil }
func (*Taken) check() error     { return nil }
func (*Bye) check() error       { return nil }
func (*Alive) check() error     { return nil }
