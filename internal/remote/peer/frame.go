package peer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
)

// A frame is one byte for the kind, four for the length of the body, and the body as JSON. That nobody makes one up, changes,
// repeats or leaves one out is TLS's business.
const headerBytes = 5

// writeFrame writes one frame in one piece.
func writeFrame(w io.Writer, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	kind := kindOf[reflect.TypeOf(m)]
	if most := mostOf(kind); len(body) > most {
		return fmt.Errorf("%w: %d bytes, where %d are the most", ErrTooLong, len(body), most)
	}
	header := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	_, err = w.Write(append(header, body...))
	return err
}

// readFrame reads one frame. Nothing is made room for before its length is known to be allowed.
func readFrame(r io.Reader) (Message, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	kind, size := header[0], binary.BigEndian.Uint32(header[1:])
	if most := mostOf(kind); uint64(size) > uint64(most) {
		return nil, fmt.Errorf("%w: %d bytes of kind %d, where %d are the most", ErrTooLong, size, kind, most)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return decode(kind, body)
}
