package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func words(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnOutputFollowsALinkAndLeavesItThere(t *testing.T) {
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"new", "written over"} {
		if err := writeFile(link, words(content)); err != nil {
			t.Fatal(err)
		}
		if target, err := os.Readlink(link); err != nil || target != "file" || read(t, file) != content {
			t.Errorf("the link leads to %q, %v, and the file has %q", target, err, read(t, file))
		}
	}
}

func TestTwoOutputsAreNeverTheSame(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.WriteFile("there", nil, 0o600), os.Symlink("there", "link"), os.Link("there", "hard"), os.Mkdir("d", 0o700),
		os.Symlink("new", "dangling"), os.Symlink(".", "here")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{{"new", "new", true}, {"new", "./d/../new", true}, {"new", "here/new", true}, {"new", "dangling", true}, {"new", "newer", false},
		{"there", "link", true}, {"there", "hard", true}, {"there", "new", false}, {"-", "/dev/stdout", true}, {"-", "/dev/fd/1", true},
		{"d/new", "new", false}, {"/dev/null", "/dev/null", false}, {"", "", false}} {
		all, err := openOutputs([]named{{"--html", c.a}, {"--csv", c.b}})
		var usage usageError
		if errors.As(err, &usage) != c.same || err != nil != c.same {
			t.Errorf("%q and %q: %v, want the same: %v", c.a, c.b, err, c.same)
		}
		if all != nil {
			all.close()
		}
	}
	if _, err := openOutputs([]named{{"--html", "link"}}, "there"); err == nil {
		t.Error("the recording that is read would be written over")
	}
}

func TestAPipeWithoutAReaderIsRefusedAndOneWithAReaderIsWritten(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(pipe, words("x")); err == nil || !strings.Contains(err.Error(), "start the reader first") {
		t.Errorf("without a reader: %v", err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR|unix.O_NONBLOCK, 0) // as a writer as well, so that it does not end before the other comes
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	long := strings.Repeat("long ", 100_000) // more than a pipe holds
	done := make(chan error)
	go func() { done <- writeFile(pipe, words(long)) }()
	var got bytes.Buffer
	if _, err := io.CopyN(&got, reader, int64(len(long))); err != nil || got.String() != long {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What a run writes to a pipe keeps nothing waiting: neither the run, nor its end once the context is over.
func TestARunDoesNotWaitForAReaderThatDoesNotRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := &output{name: "pipe", stream: w}
	var d delivery
	if err := d.write(o, words(strings.Repeat("long ", 100_000))); err != nil || !d.waitsFor(o) {
		t.Errorf("%v, waits: %v", err, d.waitsFor(o))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.wait(ctx, nil); err == nil || !strings.Contains(err.Error(), "does not read") {
		t.Errorf("what was not read: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := d.wait(context.Background(), nil); err != nil {
		t.Errorf("with a reader after all: %v", err)
	}
}

func TestAFailedWriteNamesTheFileOnce(t *testing.T) {
	for name, err := range map[string]error{"a device": writeFile("/dev/full", words("x")), "a text that is longer than the buffer": writeFile("/dev/full",
		words(strings.Repeat("x", 100_000)))} {
		if err == nil || err.Error() != "write /dev/full: no space left on device" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsNoPlaceToWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err = errors.Join(err, unix.Bind(fd, &unix.SockaddrUnix{Name: socket})); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, want := range map[string]string{socket: "give a file name", dir: "is a directory", filepath.Join(dir, "no", "f"): "make it first",
		"/dev/fd/987": "is not open"} {
		if _, err := openOutput("", name); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), name) > 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAListTakesAllThatIsWrittenAndKeepsTheError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	r := &rows{to: full}
	for range 2 {
		if n, err := io.WriteString(r, "row"); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	if !errors.Is(r.err, unix.ENOSPC) {
		t.Error(r.err)
	}
}

func TestColoursAreForTerminalsThatKnowThem(t *testing.T) {
	for name, want := range map[string]bool{"": false, "dumb": false, "unknown": false, "vt100": false, "vt220": false, "xterm": true,
		"xterm-256color": true, "vte-256color": true, "screen": true, "linux": true} {
		t.Setenv("TERM", name)
		if knownTerminal() != want {
			t.Errorf("TERM=%s: %v", name, !want)
		}
	}
}

func TestMessagesAreCutAndClean(t *testing.T) {
	if got := oneLine("a\nb\x1b[2J\u202e" + strings.Repeat("x", 10_000)); len(got) > mostMessage+10 || !strings.HasPrefix(got, "a; b?[2J?x") {
		t.Errorf("%d bytes: %.40q", len(got), got)
	}
}
