// Package wire is what the test on the host and the init process in the virtual machine have in common: the job the
// host puts into the initramfs, and the stream of results that comes back over a serial line of its own.
//
// The stream is text, so that it survives a terminal's line discipline and can be read by eye. It is a sequence of
// frames, each a header line, the gzipped payload as base64, and a footer line:
//
//	@vmtest {"kind":"file","name":"recording.json","length":1234,"crc32":99}
//	H4sIAAAAAAAA/...
//	@end
//
// The last frame is of kind End; a stream without it is incomplete. Length and CRC-32 are those of the payload before
// compression. The package imports the standard library only.
package wire

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// JobPath is where the init process finds its Job in the initramfs.
const JobPath = "/vmtest.json"

// ModulePath is where the init process finds a module in the initramfs.
func ModulePath(name string) string { return "/modules/" + name + ".ko" }

// OutDir is the directory in the virtual machine whose files are sent back.
const OutDir = "/out"

// LimitsDir is the folder below OutDir with what was on the screen when a limit was run into.
const LimitsDir = "limits"

// Command is one program to run in the virtual machine.
type Command struct {
	Argv []string `json:"argv"` // Argv[0] is an absolute path in the virtual machine
	Env  []string `json:"env"`  // added to the environment that every command gets
	Dir  string   `json:"dir"`  // working directory; / when empty
	// Await is an address and port that has to take TCP connections before the command starts; none when empty.
	Await string `json:"await"`
	// TimeoutSeconds is how long the command may run before it is killed; 0 means until the host gives up.
	TimeoutSeconds float64 `json:"timeout_seconds"`
}

// Module is a kernel module to load.
type Module struct {
	Name   string `json:"name"`
	Params string `json:"params"` // as insmod takes them: KEY=VALUE, apart by blanks
}

// Job is what the init process is to do.
type Job struct {
	Modules  []Module  `json:"modules"` // loaded in this order, before the first command
	Address  string    `json:"address"` // of the interface eth0, as ADDRESS/LENGTH; the interface is left alone when empty
	Commands []Command `json:"commands"`
}

// CommandResult is what became of one command.
type CommandResult struct {
	Argv []string `json:"argv"`
	// ExitCode is the command's own, 128 and the signal's number when a signal ended it, -1 when it did not start.
	ExitCode int     `json:"exit_code"`
	Seconds  float64 `json:"seconds"`
	// Error says why the command did not start or why it was killed; empty when it ran to its end.
	Error  string `json:"error"`
	Output string `json:"output"` // stdout and stderr as they came
}

// Boot is what the init process found when it started.
type Boot struct {
	Release string  `json:"release"` // the running kernel, as uname -r gives it
	Cmdline string  `json:"cmdline"` // /proc/cmdline
	Seconds float64 `json:"seconds"` // the kernel's uptime when init started
}

// Kind says what a frame carries.
type Kind string

// The kinds of frames, in the order they come.
const (
	BootFrame    Kind = "boot"    // a Boot as JSON
	CommandFrame Kind = "command" // a CommandResult as JSON
	FileFrame    Kind = "file"    // a file's content; the frame's name is its path below OutDir
	ErrorFrame   Kind = "error"   // a sentence: the init process could not do its work
	EndFrame     Kind = "end"     // nothing; all frames were sent
)

// Frame is one message of the stream.
type Frame struct {
	Kind    Kind
	Name    string
	Payload []byte
}

type header struct {
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Length int    `json:"length"`
	CRC32  uint32 `json:"crc32"`
}

const (
	headerMark = "@vmtest "
	footerMark = "@end"
	// lineLength keeps lines far below the 4,096 characters a terminal's line discipline can hold.
	lineLength = 120
	// maxLine is longer than any header: a path is at most 4,096 bytes, six characters each when JSON escapes them.
	maxLine = 64 << 10
)

// Write appends one frame to the stream.
func Write(w io.Writer, f Frame) error {
	head, err := json.Marshal(header{f.Kind, f.Name, len(f.Payload), crc32.ChecksumIEEE(f.Payload)})
	if err != nil {
		return err
	}
	packed, err := compress(f.Payload)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\n", headerMark, head)
	body := base64.StdEncoding.EncodeToString(packed)
	for len(body) > 0 {
		n := min(lineLength, len(body))
		b.WriteString(body[:n])
		b.WriteByte('\n')
		body = body[n:]
	}
	b.WriteString(footerMark + "\n")
	_, err = w.Write(b.Bytes())
	return err
}

// WriteJSON appends a frame whose payload is v as JSON.
func WriteJSON(w io.Writer, kind Kind, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Write(w, Frame{Kind: kind, Payload: payload})
}

func compress(payload []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(payload); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ErrIncomplete is returned by Read, with the frames that did arrive, when the stream stops before its end frame.
var ErrIncomplete = errors.New("the result stream stops before its end marker")

// Read gives the frames of a whole stream. With an error it still gives the frames that were good before it.
func Read(r io.Reader) (frames []Frame, err error) {
	err = Each(r, func(f Frame) { frames = append(frames, f) })
	return frames, err
}

// Each gives out every frame of a stream as soon as it is whole.
func Each(r io.Reader, got func(Frame)) error {
	n := 1
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		line := trim(lines.Text())
		if line == "" {
			continue
		}
		f, err := readFrame(line, lines)
		if err != nil {
			return fmt.Errorf("frame %d of the result stream: %w", n, err)
		}
		n++
		if got(f); f.Kind == EndFrame {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the result stream: %w", err)
	}
	return ErrIncomplete
}

// trim takes off the carriage return that a terminal puts before each line feed.
func trim(line string) string { return strings.TrimRight(line, "\r") }

func readFrame(first string, lines *bufio.Scanner) (Frame, error) {
	rest, ok := strings.CutPrefix(first, headerMark)
	if !ok {
		return Frame{}, fmt.Errorf("expected a header, found %s", excerpt(first))
	}
	var h header
	if err := json.Unmarshal([]byte(rest), &h); err != nil {
		return Frame{}, fmt.Errorf("header %s: %w", excerpt(first), err)
	}
	body, err := readBody(lines)
	if err != nil {
		return Frame{}, fmt.Errorf("%s %q: %w", h.Kind, h.Name, err)
	}
	payload, err := unpack(body, h)
	if err != nil {
		return Frame{}, fmt.Errorf("%s %q: %w", h.Kind, h.Name, err)
	}
	return Frame{Kind: h.Kind, Name: h.Name, Payload: payload}, nil
}

// readBody collects the base64 lines up to the footer.
func readBody(lines *bufio.Scanner) (string, error) {
	var body strings.Builder
	for lines.Scan() {
		line := trim(lines.Text())
		if line == footerMark {
			return body.String(), nil
		}
		if strings.HasPrefix(line, "@") {
			return "", fmt.Errorf("expected base64 or the footer, found %s", excerpt(line))
		}
		body.WriteString(line)
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", ErrIncomplete
}

func unpack(body string, h header) ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("mangled on its way: %w", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("mangled on its way: %w", err)
	}
	payload, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("mangled on its way: %w", err)
	}
	if len(payload) != h.Length {
		return nil, fmt.Errorf("mangled on its way: %d bytes arrived of %d", len(payload), h.Length)
	}
	if sum := crc32.ChecksumIEEE(payload); sum != h.CRC32 {
		return nil, fmt.Errorf("mangled on its way: CRC-32 is %08x, sent as %08x", sum, h.CRC32)
	}
	return payload, nil
}

func excerpt(line string) string {
	const most = 80
	if len(line) > most {
		line = line[:most] + "..."
	}
	return fmt.Sprintf("%q", line)
}
