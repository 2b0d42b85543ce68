package vm

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/test/vm/wire"
)

// What a machine has done is told while it goes on.
func TestEachStepIsToldAsItEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results")
	written, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	read, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	over, said, done := make(chan struct{}), make(chan string), make(chan error, 1)
	result := &Result{}
	go func() { done <- result.readStream(&growing{read, over}, func(line string) { said <- line }) }()
	for _, step := range []struct {
		kind wire.Kind
		what any
		line string
	}{
		{wire.BootFrame, wire.Boot{Release: "6.12.1", Seconds: 3.25}, "kernel 6.12.1: init after 3.2 s"},
		{wire.CommandFrame, wire.CommandResult{Argv: []string{"/test/internal/load/load.test", "-test.v"}, Seconds: 12.5},
			"internal/load took 12.5 s"},
		{wire.CommandFrame, wire.CommandResult{Argv: []string{"/connprof", "serve"}, Seconds: 240, ExitCode: 2, Error: "killed"},
			"connprof serve took 240.0 s, FAILED: exit status 2 killed"},
	} {
		var frame bytes.Buffer
		if err := wire.WriteJSON(&frame, step.kind, step.what); err != nil {
			t.Fatal(err)
		}
		half := frame.Len() / 2 // a frame comes in pieces
		for _, piece := range [][]byte{frame.Bytes()[:half], frame.Bytes()[half:]} {
			if _, err := written.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if line := <-said; line != step.line {
			t.Errorf("%q is told, want %q", line, step.line)
		}
	}
	if err := wire.Write(written, wire.Frame{Kind: wire.EndFrame}); err != nil {
		t.Fatal(err)
	}
	close(over)
	if err := <-done; err != nil || len(result.Commands) != 2 {
		t.Errorf("%d commands, %v", len(result.Commands), err)
	}
}

func TestTheCauseComesFirstAndWithoutGoroutines(t *testing.T) {
	killed := wire.CommandResult{Argv: []string{"/connprof", "serve"}, ExitCode: 2, Error: "killed after 240 s, its timeout",
		Output: "listening\nSIGQUIT: quit\nPC=0x1\n\n" + strings.Repeat("goroutine 1 [select]:\n", 1000)}
	gaveUp := wire.CommandResult{Argv: []string{"/connprof", "run"}, ExitCode: 1, Output: "connprof: no answer\n"}
	list := []wire.CommandResult{killed, gaveUp, killed}
	slices.SortStableFunc(list, byCause)
	if list[0].Error != "" || list[1].Error == "" {
		t.Errorf("the first is %s", outcome(list[0]))
	}
	if text := complaint(killed); !strings.HasPrefix(text, "listening\n") || strings.Contains(text, "goroutine 1") ||
		!strings.Contains(text, "1003 lines") {
		t.Errorf("it says %.300q", text)
	}
	if text := complaint(gaveUp); text != gaveUp.Output {
		t.Errorf("it says %q", text)
	}
}
