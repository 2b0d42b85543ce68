package recording

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Read reads a recording, gzipped or not.
func Read(r io.Reader) (*Recording, error) {
	b := bufio.NewReader(r)
	if magic, _ := b.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		data, err := unzip(b)
		if err != nil {
			return nil, err
		}
		return Decode(data)
	}
	data, err := io.ReadAll(b)
	if err != nil {
		return nil, err
	}
	return Decode(data)
}

func unzip(r io.Reader) (data []byte, err error) {
	z, err := gzip.NewReader(r)
	if err == nil {
		data, err = io.ReadAll(z)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("the recording is cut off: its gzip stream ends early; record again")
	}
	if err != nil {
		return nil, fmt.Errorf("the recording is damaged: %w; record again", err)
	}
	return data, nil
}

// Decode reads a recording that is not gzipped.
func Decode(data []byte) (*Recording, error) {
	var head struct {
		Schema *string `json:"schema"`
	}
	var mistyped *json.UnmarshalTypeError
	err := json.Unmarshal(data, &head)
	if err != nil && !errors.As(err, &mistyped) {
		return nil, notJSON(data, err)
	}
	if err != nil || head.Schema == nil {
		return nil, errors.New("not a recording: this JSON has no \"schema\"; give a file that connprof wrote")
	}
	switch *head.Schema {
	case Schema:
		return decode2(data)
	case schema1:
		return decode1(data)
	}
	return nil, fmt.Errorf("the recording has schema %q and this connprof reads %q and %q; use the connprof that wrote it",
		*head.Schema, Schema, schema1)
}

// DecodeOne reads the recording that another machine has sent of itself.
func DecodeOne(data []byte) (*Recording, error) {
	r, err := Decode(data)
	if err == nil && len(r.Machines) != 1 {
		return nil, errors.New("the recording has another machine's in it")
	}
	return r, err
}

func decode2(data []byte) (*Recording, error) {
	rec := &Recording{}
	if err := unmarshal(data, rec, Schema); err != nil {
		return nil, err
	}
	if len(rec.Machines) == 0 || slices.Contains(rec.Machines, nil) {
		return nil, fmt.Errorf("the recording does not fit its schema %s: it has no machine; record again", Schema)
	}
	return rec, nil
}

// unmarshal decodes JSON of a schema. Its errors are for people.
func unmarshal(data []byte, to any, schema string) error {
	err := json.Unmarshal(data, to)
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped):
		return fmt.Errorf("the recording does not fit its schema %s: field %q holds a %s; record again", schema,
			strings.ReplaceAll(mistyped.Field, "Machine.", ""), mistyped.Value) // what is embedded has no name in the file
	}
	return fmt.Errorf("the recording does not fit its schema %s: %w; record again", schema, err)
}

// notJSON tells a recording that ends too early from something else. Only a json.Decoder makes the difference: the
// error of json.Unmarshal is at the end of the data as well where the last byte is the wrong one.
func notJSON(data []byte, err error) error {
	switch end := json.NewDecoder(bytes.NewReader(data)).Decode(&json.RawMessage{}); {
	case errors.Is(end, io.EOF):
		return errors.New("the recording is empty; record again")
	case errors.Is(end, io.ErrUnexpectedEOF):
		return fmt.Errorf("the recording is cut off after %d bytes; record again", len(data))
	}
	return fmt.Errorf("not a recording: not JSON: %w; give a file that connprof wrote", err)
}

// ReadFile reads the recording at path; "-" is standard input.
func ReadFile(path string) (*Recording, error) {
	if path == "-" {
		rec, err := Read(os.Stdin)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return rec, nil
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("read %s: there is no such file; give a file that connprof wrote", path)
	case err != nil:
		return nil, fmt.Errorf("read recording: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("read %s: it is a directory; give a file that connprof wrote", path)
	}
	rec, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rec, nil
}

// Write writes a recording as indented JSON.
func (r *Recording) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// WriteNamed writes a recording to w, gzipped where the file's name ends in .gz.
func (r *Recording) WriteNamed(w io.Writer, name string) error {
	if !strings.HasSuffix(name, ".gz") {
		return r.Write(w)
	}
	z := gzip.NewWriter(w)
	if err := r.Write(z); err != nil {
		return err
	}
	return z.Close()
}
