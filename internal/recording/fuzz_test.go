package recording

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRead holds for any file: it is refused with a message of one line's length, or what was read can be written and read
// again. The recordings below testdata/v1 are the seeds, beside testdata/fuzz.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/v1/*.json.gz")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	var plain bytes.Buffer
	if err := fullRecording().Write(&plain); err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		if err != nil {
			if said := err.Error(); utf8.RuneCountInString(said) > 400 || said == "" {
				t.Fatalf("a message of %d bytes: %.500s", len(said), said)
			}
			return
		}
		var once, twice bytes.Buffer
		if err := r.Write(&once); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Read(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if err := again.Write(&twice); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("it is written in two ways, %v:\n%.2000s\n%.2000s", err, once.Bytes(), twice.Bytes())
		}
	})
}

// FuzzMeter holds the count against what a decoder makes of the same text, whatever pieces it comes in.
func FuzzMeter(f *testing.F) {
	for _, text := range []string{``, `{}`, `[1,"a,b",{"c":[]}]`, `{"a\"{":"\\","b":{"c":null}}`, `"\\\""`, `]}{[`} {
		f.Add(text, uint8(3))
	}
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		var whole, pieces meter
		_, _ = whole.Write([]byte(text))
		for r := bytes.NewReader([]byte(text)); ; {
			piece := make([]byte, int(size)+1)
			n, err := r.Read(piece)
			if err == io.EOF {
				break
			}
			_, _ = pieces.Write(piece[:n])
		}
		if whole.depth <= mostDepth && whole != pieces {
			t.Fatalf("%+v in one piece, %+v in pieces of %d", whole, pieces, int(size)+1)
		}
		if objects, ok := decoded(text); ok && whole.depth == 0 && whole.objects != objects {
			t.Fatalf("%d objects, the decoder has %d", whole.objects, objects)
		}
	})
}

// decoded is how many objects a JSON text has by the decoder.
func decoded(text string) (objects int, ok bool) {
	if !json.Valid([]byte(text)) {
		return 0, false
	}
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if err != nil {
			return objects, err == io.EOF
		}
		if token == json.Delim('{') {
			objects++
		}
	}
}
