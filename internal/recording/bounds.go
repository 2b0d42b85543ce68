package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A recording may come from anybody, and a few bytes of gzip or JSON become many in memory. The bounds are far beyond what
// connprof writes: a run of a million connections that is divided into 100,000 groups has 90 MiB, 2.4 million values, 200,000
// objects and a depth of 7.
const (
	mostBytes    = 128 << 20 // of JSON, when unpacked
	mostDepth    = 32        // lists and objects within each other
	mostString   = 1 << 20   // bytes of one text, as it is written
	mostValues   = 5_000_000
	mostObjects  = 500_000
	mostMachines = 16
)

// errTooLarge is what every error of a bound is.
var errTooLarge = errors.New("no recording is that large; give a file that connprof wrote")

func beyond(format string, args ...any) error {
	return fmt.Errorf("the recording has "+format+": %w", append(args, errTooLarge)...)
}

// meter holds JSON against the bounds, piece by piece as it comes, before anything is made of it. What is no JSON is left
// to the decoder.
type meter struct {
	bytes, depth, values, objects int
	commas                        int // between what the outermost list or object has
	text                          int // bytes of the string that it is in
	inText, escaped               bool
}

func (m *meter) Write(piece []byte) (int, error) {
	if m.bytes += len(piece); m.bytes > mostBytes {
		return 0, beyond("more than %d MiB when unpacked", mostBytes>>20)
	}
	for rest := piece; len(rest) > 0; {
		n := m.pass(rest)
		rest = rest[n:]
		switch {
		case m.depth > mostDepth:
			return 0, beyond("lists and objects more than %d deep in each other", mostDepth)
		case m.text > mostString:
			return 0, beyond("a text of more than %d MiB", mostString>>20)
		case m.values > mostValues:
			return 0, beyond("more than %d values", mostValues)
		case m.objects > mostObjects:
			return 0, beyond("more than %d rows", mostObjects)
		}
	}
	return len(piece), nil
}

// pass counts what a piece begins with: a part of a text, or what is between two texts. It returns how far that goes.
func (m *meter) pass(piece []byte) int {
	if m.inText {
		return m.passText(piece)
	}
	for i, c := range piece {
		switch c {
		case '"':
			m.inText, m.text = true, 0
			return i + 1
		case '{':
			m.objects++
			fallthrough
		case '[':
			m.values++
			if m.depth++; m.depth > mostDepth {
				return i + 1
			}
		case '}', ']':
			m.depth--
		case ',':
			m.values++
			if m.depth == 1 {
				m.commas++
			}
		}
	}
	return len(piece)
}

func (m *meter) passText(piece []byte) int {
	if m.escaped {
		m.escaped = false
		m.text++
		return 1
	}
	n := bytes.IndexAny(piece, `"\`)
	if n < 0 {
		m.text += len(piece)
		return len(piece)
	}
	m.text += n
	m.escaped = piece[n] == '\\'
	m.inText = m.escaped
	return n + 1
}

// readBounded reads JSON as long as it is within the bounds. It keeps it in pieces, so that it never has it twice before it
// knows that all of it is.
func readBounded(r io.Reader) ([]byte, error) {
	const size = 1 << 20
	var m meter
	var pieces [][]byte
	for {
		piece := make([]byte, size)
		n, err := fill(r, piece)
		if _, over := m.Write(piece[:n]); over != nil {
			return nil, over
		}
		pieces = append(pieces, piece[:n])
		if errors.Is(err, io.EOF) {
			return bytes.Join(pieces, nil), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// fill is io.ReadFull with the reader's own error: the end of a gzip stream and one that is cut off have different ones.
func fill(r io.Reader, piece []byte) (n int, err error) {
	for n < len(piece) && err == nil {
		var more int
		more, err = r.Read(piece[n:])
		n += more
	}
	return n, err
}

// machineCount is how many elements a list has: a machine of two bytes takes a kilobyte once it is decoded.
type machineCount int

// UnmarshalJSON counts, and makes nothing of what it counts.
func (c *machineCount) UnmarshalJSON(list []byte) error {
	var m meter
	if _, err := m.Write(list); err != nil {
		return err
	}
	if *c = machineCount(m.commas + 1); *c > mostMachines {
		return beyond("more than %d machines", mostMachines)
	}
	return nil
}

// shortError keeps both ends of a message: the beginning says what is wrong, and the end what to do. What is between may be
// a text of the file, of any length.
type shortError struct{ error }

func (e *shortError) Error() string {
	const head, tail = 200, 160
	text := []rune(e.error.Error())
	if len(text) <= head+tail {
		return string(text)
	}
	return string(text[:head]) + "…" + string(text[len(text)-tail:])
}

func (e *shortError) Unwrap() error { return e.error }
