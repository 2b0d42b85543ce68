package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
)

// pairs is connections of the test's own to itself, on the loopback interface.
func pairs(t *testing.T, count int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for range count {
		for _, open := range []func() (net.Conn, error){
			func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, l.Accept} {
			c, err := open()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}
	}
}

// onlyCalibration checks that connprof keeps nothing else below /run.
func onlyCalibration(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(live.CalibrationFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(live.CalibrationFile) {
			t.Errorf("the look left %s", e.Name())
		}
	}
}

func TestALookLeavesTheHostAsItWas(t *testing.T) {
	leavesNoTrace(t, func(t *testing.T) {
		cmd := command(t, "snapshot", "-o", "rec.json")
		finish(t, cmd).exits(t, exitDone)
		only(t, cmd.Dir, "rec.json")
	})
	onlyCalibration(t)
}

func TestAKilledLookLeavesTheHostAsItWas(t *testing.T) {
	pairs(t, 300) // whose rows are more than what is buffered on the way
	leavesNoTrace(t, func(t *testing.T) {
		// A pipe that takes few of the rows keeps the look in the middle.
		path := filepath.Join(t.TempDir(), "rows")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		pipe, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer pipe.Close()
		if _, err := unix.FcntlInt(pipe.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
			t.Fatal(err)
		}
		before := passing(t)
		c := start(t, command(t, "snapshot", "--endpoints", path, "-o", "rec.json"))
		c.until(t, "the look", func() bool {
			waiting, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
			return err == nil && waiting > 0
		})
		if !loaded(before, passing(t)) {
			t.Error("the look has no BPF program while it writes rows: it is not in the middle")
		}
		c.signal(t, syscall.SIGKILL)
		c.wait(t)
		only(t, c.cmd.Dir)
	})
	onlyCalibration(t)
}

// loaded tells whether there is a BPF program of connprof's that was not there before.
func loaded(before, now traces) bool {
	for trace := range now {
		if !before[trace] && strings.HasPrefix(trace, "BPF program") {
			return true
		}
	}
	return false
}

func TestFromAPIDNamespaceOfItsOwnNothingIsSaidToBeInFlight(t *testing.T) {
	t.Parallel()
	pairs(t, 10)
	cmd := command(t, "snapshot", "-o", "rec.json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	finish(t, cmd).exits(t, exitDone)
	m, unseen := readRecording(t, cmd.Dir+"/rec.json").Machines[0], 0
	if notes := strings.Join(m.Notes, "\n"); !strings.Contains(notes, "in a PID namespace of its own") {
		t.Errorf("the notes do not say why: %s", notes)
	}
	for _, g := range m.Groups {
		if g.Owner == recording.OwnerUnseen {
			unseen += g.Count
		}
		if g.Owner == recording.OwnerInFlight {
			t.Errorf("%d sockets are said to be in flight", g.Count)
		}
	}
	if unseen < 2*10 {
		t.Errorf("%d sockets of processes that are not seen, want at least %d", unseen, 2*10)
	}
}
