package hostfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

type notes struct {
	Schema string   `json:"schema"`
	Lines  []string `json:"lines"`
}

func notesAt(path string) Journal[notes] {
	return Journal[notes]{Path: path, Schema: "connprof.notes/2", Perm: 0o640,
		Empty: func(n notes) bool { return len(n.Lines) == 0 },
		Check: func(n notes) error {
			if len(n.Lines) > 0 && n.Lines[0] == "bad" {
				return errors.New("it has a bad line")
			}
			return nil
		},
		Writer: "connprof note", Undo: "forget", Repair: "repair it"}
}

// keep writes lines into a journal.
func keep(t *testing.T, j Journal[notes], lines ...string) {
	t.Helper()
	o, err := j.Open()
	if err != nil {
		t.Error(err)
		return
	}
	defer o.Close()
	o.Content = notes{j.Schema, lines}
	if err := o.Write(); err != nil {
		t.Error(err)
	}
}

const twoLines = `{
  "schema": "connprof.notes/2",
  "lines": [
    "a",
    "b"
  ]
}
`

func TestAJournalIsReadAsItWasWritten(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		dir := t.TempDir()
		j := notesAt(filepath.Join(dir, "j.json"))
		if _, found, err := j.Read(); found || err != nil || !j.Untouched() {
			t.Errorf("without a file: found %v, %v", found, err)
		}
		keep(t, j, "x")
		keep(t, j, "a", "b")
		holds(t, dir, map[string]string{"j.json": twoLines})
		if n, found, err := j.Read(); !found || err != nil || strings.Join(n.Lines, "") != "ab" || j.Untouched() {
			t.Errorf("%+v, found %v, %v", n, found, err)
		}
		if info, err := os.Stat(j.Path); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		keep(t, j)
		keep(t, j)
		holds(t, dir, map[string]string{})
	})
}

func TestWhatAKilledProcessLeftOfADraftGoes(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "precious")
		j := notesAt(filepath.Join(dir, "j.json"))
		if err := os.Symlink(elsewhere, filepath.Join(dir, ".j.json.draft")); err != nil {
			t.Error(err)
		}
		if j.Untouched() {
			t.Error("the draft is overlooked")
		}
		keep(t, j, "a", "b")
		holds(t, dir, map[string]string{"j.json": twoLines})
		if _, err := os.Stat(elsewhere); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the journal was written through a link to %s", elsewhere)
		}
	})
}

func TestOneJournalAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home", "j.json")
	j := notesAt(path)
	j.Default = path
	first, err := j.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Open(); err == nil || !strings.Contains(err.Error(), "another connprof is at work") ||
		!strings.Contains(err.Error(), filepath.Dir(path)) || !strings.Contains(err.Error(), "wait") {
		t.Errorf("a second one: %v", err)
	}
	first.Close() // and the directory goes with it
	keep(t, j, "a", "b")
	holds(t, filepath.Dir(path), map[string]string{"j.json": twoLines})
}

func TestALockOnADirectoryThatIsGoneIsInNobodysWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	ensure := func() error { return os.MkdirAll(dir, 0o755) }
	first, err := lockDirectory(dir, ensure)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	second, err := lockDirectory(dir, ensure)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

func TestTheDefaultDirectoryIsThereOnlyWhileItIsNeeded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home", "j.json")
	j := notesAt(path)
	j.Default = path
	for _, lines := range [][]string{nil, {"a"}, nil} {
		keep(t, j, lines...)
		if _, err := os.Stat(filepath.Dir(path)); (err == nil) != (len(lines) > 0) {
			t.Errorf("after %d lines: stat of the directory: %v", len(lines), err)
		}
	}
}

func TestWhatIsNoJournalIsLeftAlone(t *testing.T) {
	for _, c := range []struct{ name, content, says string }{
		{"empty", "", "is damaged: unexpected end of JSON input; repair it"},
		{"cut off", twoLines[:40], "is damaged"},
		{"two journals", twoLines + twoLines, "is damaged"},
		{"wrong type", `{"schema":"connprof.notes/2","lines":"none"}`, "the string at byte"},
		{"an array", `[]`, "the array at byte"},
		{"a number for a schema", `{"schema":5}`, "the number at byte"},
		{"refused", `{"schema":"connprof.notes/2","lines":["bad"]}`, "is damaged: it has a bad line; repair it"},
		{"no schema", `{}`, "is no journal of connprof note (it does not have the schema connprof.notes/2)"},
		{"another program's", `{"schema":"notes/2"}`, "is no journal of connprof note"},
		{"another version's", `{"schema":"connprof.notes/13"}`, `another version of connprof (schema "connprof.notes/13"`},
		{"another version's, and of another form", `{"schema":"connprof.notes/13","lines":{}}`, "run that version's forget first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := notesAt(filepath.Join(dir, "j.json"))
			if err := os.WriteFile(j.Path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, found, errRead := j.Read()
			_, errOpen := j.Open()
			for _, err := range []error{errRead, errOpen} {
				if found || err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), j.Path) {
					t.Errorf("%v, want an error that says %q", err, c.says)
				}
			}
			holds(t, dir, map[string]string{"j.json": c.content})
			if second, err := lockDirectory(dir, func() error { return nil }); err != nil {
				t.Errorf("the lock is kept: %v", err)
			} else {
				_ = second.Close()
			}
		})
	}
}

func TestWhatIsNoFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := errors.Join(unix.Mkfifo(pipe, 0o600), os.WriteFile(large, nil, 0o600), os.Truncate(large, journalLimit+1)); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{dir: "not a regular file", pipe: "not a regular file", "/dev/null": "not a regular file",
		large: "16777217 bytes are too many"} {
		if _, _, err := notesAt(path).Read(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWhereAJournalCannotBeSaysWhy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dir, "ro")
	if err := errors.Join(os.Mkdir(readOnly, 0o755), unix.Mount("none", readOnly, "tmpfs", unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(readOnly, 0) }()
	for path, says := range map[string]string{
		"/no/such/place/j":           "there is no directory /no/such/place; make it first",
		filepath.Join(file, "j"):     "not a directory",
		filepath.Join(readOnly, "j"): "is not writable: read-only file system",
	} {
		if _, err := notesAt(path).Open(); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "--journal") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
