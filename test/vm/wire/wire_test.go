package wire

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
)

// sample is a stream with a frame of each size that matters: none, one line, many lines.
func sample(t *testing.T) ([]Frame, string) {
	t.Helper()
	noise := make([]byte, 100_000)
	for i, source := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(source.Uint32())
	}
	frames := []Frame{
		{Kind: BootFrame, Payload: []byte(`{"release":"6.1"}`)},
		{Kind: FileFrame, Name: "a \"strange\"\nname @end", Payload: noise},
		{Kind: FileFrame, Name: "empty"},
		{Kind: EndFrame},
	}
	var b strings.Builder
	for _, f := range frames {
		if err := Write(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return frames, b.String()
}

func equal(a, b []Frame) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Kind != b[i].Kind || a[i].Name != b[i].Name || !bytes.Equal(a[i].Payload, b[i].Payload) {
			return false
		}
	}
	return true
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	frames, stream := sample(t)
	for name, text := range map[string]string{
		"as written":              stream,
		"through a terminal":      strings.ReplaceAll(stream, "\n", "\r\n"),
		"with blank lines before": "\r\n\n" + stream,
		"with bytes after":        stream + "left over",
	} {
		got, err := Read(strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !equal(got, frames) {
			t.Errorf("%s: the frames read are not the frames written", name)
		}
	}
}

func TestTruncatedStreamIsIncompleteWhereverItIsCut(t *testing.T) {
	frames, stream := sample(t)
	last := strings.LastIndex(stream, footerMark) + len(footerMark)
	for cut := 0; cut < last; cut += 997 {
		got, err := Read(strings.NewReader(stream[:cut]))
		if err == nil {
			t.Fatalf("cut at %d of %d bytes: no error", cut, len(stream))
		}
		if !equal(got, frames[:len(got)]) {
			t.Fatalf("cut at %d: a frame that is not one of those written", cut)
		}
	}
	for _, lines := range []int{0, 3, 4} {
		text := strings.Join(strings.SplitAfterN(stream, "\n", lines+1)[:lines], "")
		if _, err := Read(strings.NewReader(text)); !errors.Is(err, ErrIncomplete) {
			t.Errorf("cut after line %d: error is %v, want %v", lines, err, ErrIncomplete)
		}
	}
}

func TestMangledStreamIsRefused(t *testing.T) {
	frames, stream := sample(t)
	sum := fmt.Sprintf(`"crc32":%d`, crc32.ChecksumIEEE(frames[0].Payload))
	lines := strings.SplitAfter(stream, "\n")
	replaced := func(i int, line string) string {
		changed := append([]string(nil), lines...)
		changed[i] = line
		return strings.Join(changed, "")
	}
	for _, c := range []struct{ name, text, want string }{
		{"a kernel message between frames", replaced(0, "[    1.0] oops\n"+lines[0]), "expected a header"},
		{"a kernel message in a body", replaced(5, "[    1.0] oops\n"), "mangled"},
		{"a line lost from a body", replaced(500, ""), "mangled"},
		{"a line doubled in a body", replaced(500, lines[500]+lines[500]), "mangled"},
		{"a footer lost", replaced(2, ""), "expected base64 or the footer"},
		{"a header cut short", replaced(0, lines[0][:20]+"\n"), "header"},
		{"another length", replaced(0, strings.Replace(lines[0], `"length":17`, `"length":18`, 1)), "17 bytes arrived of 18"},
		{"another checksum", replaced(0, strings.Replace(lines[0], sum, `"crc32":1`, 1)), "CRC-32 is"},
		{"an endless line", strings.Repeat("x", maxLine+1), "read the result stream"},
	} {
		_, err := Read(strings.NewReader(c.text))
		if err == nil {
			t.Errorf("%s: no error", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %q, want %q in it", c.name, err, c.want)
		}
	}
}

func TestFramesBeforeTheTroubleAreKept(t *testing.T) {
	frames, stream := sample(t)
	i := strings.Index(stream, headerMark+`{"kind":"file","name":"empty"`)
	got, err := Read(strings.NewReader(stream[:i] + "rubbish\n" + stream[i:]))
	if err == nil || !equal(got, frames[:2]) {
		t.Errorf("error %v and %d frames, want an error and 2 frames", err, len(got))
	}
}
