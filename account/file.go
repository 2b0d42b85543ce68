package account

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Read reads a recording, gzipped or not.
func Read(r io.Reader) (*Recording, error) {
	b := bufio.NewReader(r)
	if magic, _ := b.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("not a recording: damaged gzip: %w", err)
		}
		defer z.Close()
		return decode(z)
	}
	return decode(b)
}

func decode(r io.Reader) (*Recording, error) {
	data, err := io.ReadAll(r)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("the recording is cut off: its gzip stream ends early; record again")
	}
	if err != nil {
		return nil, err
	}
	var head struct {
		Schema *string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, notJSON(data, err)
	}
	switch {
	case head.Schema == nil:
		return nil, fmt.Errorf("not a recording: this JSON has no \"schema\"; give a file that connprof run wrote")
	case *head.Schema != Schema:
		return nil, fmt.Errorf("the recording has schema %q and this connprof reads %q; use the connprof that wrote it",
			*head.Schema, Schema)
	}
	rec := &Recording{}
	if err := json.Unmarshal(data, rec); err != nil {
		return nil, fmt.Errorf("the recording does not fit its schema %s: %w", Schema, err)
	}
	return rec, nil
}

func notJSON(data []byte, err error) error {
	var syntax *json.SyntaxError
	if len(data) == 0 {
		return fmt.Errorf("the recording is empty; record again")
	}
	if errors.As(err, &syntax) && syntax.Offset >= int64(len(data)) {
		return fmt.Errorf("the recording is cut off after %d bytes; record again", len(data))
	}
	return fmt.Errorf("not a recording: not JSON: %w; give a file that connprof run wrote", err)
}

// ReadFile reads the recording at path.
func ReadFile(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
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
