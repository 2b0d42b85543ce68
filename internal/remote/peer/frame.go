package peer

import (
	"crypto/hmac"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
)

// A frame is one byte for the kind, four for the length of the body, the body as JSON, and a code over all of that, the
// direction and the frame's number: no frame can be made up, changed, repeated or left out.
const headerBytes = 5

// direction is one of the two ways of a connection, with the key that both ends have made from the token.
type direction struct {
	key  []byte
	name string // client or server, by who writes
	sent uint64
}

func (d *direction) code(header, body []byte) []byte {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], d.sent)
	return code(d.key, []byte(d.name), n[:], header, body)
}

// write writes one frame in one piece.
func (d *direction) write(w io.Writer, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	kind := kindOf[reflect.TypeOf(m)]
	if most := mostOf(kind); len(body) > most {
		return fmt.Errorf("a message of %d bytes, where %d are the most", len(body), most)
	}
	frame := append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
	frame = append(frame, d.code(frame[:headerBytes], body)...)
	d.sent++
	_, err = w.Write(frame)
	return err
}

// read reads one frame of at most that many bytes of body. Nothing is made room for before its length is known to be
// allowed, and nothing is decoded before its code is known to be right.
func (d *direction) read(r io.Reader, most int) (Message, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	kind, size := header[0], int(binary.BigEndian.Uint32(header[1:]))
	if size < 0 || size > min(mostOf(kind), most) {
		return nil, ErrForged
	}
	rest := make([]byte, size+macBytes)
	if _, err := io.ReadFull(r, rest); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	body, mac := rest[:size], rest[size:]
	if !hmac.Equal(mac, d.code(header[:], body)) {
		return nil, ErrForged
	}
	d.sent++
	return decode(kind, body)
}
