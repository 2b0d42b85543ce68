package peer

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// greed notes the longest read that it is asked for, which is what its reader has made room for.
type greed struct {
	io.Reader
	most int
}

func (g *greed) Read(b []byte) (int, error) {
	g.most = max(g.most, len(b))
	return g.Reader.Read(b)
}

func TestALengthAloneAllocatesNothing(t *testing.T) {
	for kind := range 256 {
		for _, length := range []string{"\x7f\xff\xff\xff", "\xff\xff\xff\xff", "\x00\x01\x00\x01"} {
			in := &greed{Reader: bytes.NewReader(append([]byte{byte(kind)}, length...))}
			if _, err := readFrame(in); !errors.Is(err, ErrTooLong) || in.most > headerBytes {
				t.Errorf("kind %d: error %v for a frame of length %q, and room for %d bytes", kind, err, length, in.most)
			}
		}
	}
}

func TestAFrameThatIsCutOffIsNoMessage(t *testing.T) {
	var whole bytes.Buffer
	if err := writeFrame(&whole, aRequest); err != nil {
		t.Fatal(err)
	}
	for n := range whole.Len() {
		m, err := readFrame(bytes.NewReader(whole.Bytes()[:n]))
		if !hungUp(err) || (n > 0) != errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes make %v, %v", n, whole.Len(), m, err)
		}
	}
}

func TestAMessageThatIsTooLongIsNotSent(t *testing.T) {
	client, server := linked(t)
	if err := client.Send(&Chunk{make([]byte, frameBytes)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
	<-server.Done()
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

// FuzzFrame has a frame's reader look at anything: it makes room for no more than a frame may have, and what it lets through
// may be said.
func FuzzFrame(f *testing.F) {
	for _, m := range []Message{aRequest, &Bye{}, &Chunk{[]byte("abc")}, &Refusal{"no"}} {
		var b bytes.Buffer
		if err := writeFrame(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("\x02\x7f\xff\xff\xff"))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &greed{Reader: bytes.NewReader(b)}
		m, err := readFrame(in)
		if in.most > frameBytes {
			t.Errorf("room for %d bytes", in.most)
		}
		if err != nil {
			return
		}
		if err := m.check(); err != nil {
			t.Errorf("%+v came through: %v", m, err)
		}
		var again bytes.Buffer
		if err := writeFrame(&again, m); err == nil {
			if _, err = readFrame(&again); err != nil {
				t.Errorf("%+v was read, and cannot be written: %v", m, err)
			}
		}
	})
}
