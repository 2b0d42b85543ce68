package cli

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestTwoRunsAtATimeBothCountExactly(t *testing.T) {
	var runs [2]*child
	for i := range runs {
		runs[i] = start(t, command(t, "run", "--conns", "8k", "--rate", "4k"))
	}
	for i, c := range runs {
		c.wait(t).exits(t, exitDone)
		rec := readOne(t, c.cmd.Dir+"/connprof.json")
		checkCounts(t, rec, 8000)
		says(t, fmt.Sprintf("run %d's notes", i), strings.Join(rec.Notes, "\n"), "another connprof")
		says(t, "stdout", c.stdout.String(), "another connprof")
	}
}

func TestOddNumbersAreEstablishedExactly(t *testing.T) {
	for _, c := range []struct {
		ips, ports, conns int
		more              []string
	}{
		{7, 3, 4999, nil}, {1, 20, 5000, nil}, {1, 1, 1, nil}, {254, 1, 2001, nil}, {3, 2, 1999, []string{"--ipv6"}},
		{20, 1, 7, nil}, {2, 100, 3001, nil},
	} {
		args := []string{"run", "--ips", fmt.Sprint(c.ips), "--ports", fmt.Sprint(c.ports), "--conns", fmt.Sprint(c.conns)}
		args = append(args, c.more...)
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			rec := counted(t, command(t, args...), c.conns)
			holds(t, check.Spread(rec, c.ips, c.conns), check.Listeners(rec, c.ports))
			for _, a := range rec.Addresses {
				if ip := netip.MustParseAddr(a.Address); ip.Is6() != (len(c.more) > 0) {
					t.Errorf("an address of the other family: %v", ip)
				}
			}
		})
	}
}

func TestJSONOnStdoutIsTheRecording(t *testing.T) {
	cmd := command(t, "run", "--conns", "1k", "--json", "-o", "rec.json")
	r := finish(t, cmd).exits(t, exitDone)
	if r.stdout != string(readFile(t, cmd.Dir+"/rec.json")) {
		t.Error("stdout is not what the file holds")
	}
	for _, args := range [][]string{{"--json", "-o", "-"}, {"--json", "-o", "/dev/null"}} {
		r := connprof(t, append([]string{"run", "--conns", "1k"}, args...)...).exits(t, exitDone)
		rec, err := recording.Read(strings.NewReader(r.stdout))
		if err != nil {
			t.Fatalf("%v: %v: %v", args, err, r)
		}
		checkCounts(t, onlyOne(t, rec), 1000)
	}
}

func TestARecordingNamedGzIsGzipped(t *testing.T) {
	cmd := command(t, "run", "--conns", "1k", "-o", "x.json.gz")
	r := finish(t, cmd).exits(t, exitDone)
	path := filepath.Join(cmd.Dir, "x.json.gz")
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := recording.Read(z)
	if err != nil {
		t.Fatal(err)
	}
	checkCounts(t, onlyOne(t, rec), 1000)
	if text := connprof(t, "report", path).exits(t, exitDone).stdout; text != r.stdout {
		t.Errorf("report printed\n%s\nand run\n%s", text, r.stdout)
	}
}

func TestAHoldChecksThatAllAreStillUp(t *testing.T) {
	for _, more := range [][]string{nil, {"--no-profile"}, {"--no-profile", "--scenario", "listen"}, {"--no-profile", "--scenario", "syn-recv"}} {
		t.Run(strings.Join(more, " "), func(t *testing.T) {
			cmd := command(t, append([]string{"run", "--conns", "2k", "--hold", "1s"}, more...)...)
			r := finish(t, cmd).exits(t, exitDone)
			says(t, "stderr", r.stderr, "held for", "all 2000 connections are still up")
			if l := readOne(t, cmd.Dir+"/connprof.json").Load; l.HoldSeconds < 1 || l.LostInHold != 0 {
				t.Errorf("held for %g s, %d lost", l.HoldSeconds, l.LostInHold)
			}
		})
	}
}

func TestAConnectionThatIsLostInAHoldIsAFailure(t *testing.T) {
	for _, more := range [][]string{{"--endpoints", "ep.csv"}, {"--no-profile"}} {
		t.Run(more[0], func(t *testing.T) {
			c := start(t, command(t, append([]string{"run", "--conns", "2k", "--hold", "1h", "-o", "rec.json"}, more...)...))
			c.holding(t)
			aborts(t, c.worker("client"), 3)
			c.ends(t, syscall.SIGINT).complains(t, exitFailed, "3 of 2000 connections were lost while they were held")
			if l := readOne(t, c.cmd.Dir+"/rec.json").Load; l.Established != 2000 || l.LostInHold != 3 {
				t.Errorf("%d established and %d lost, want 2000 and 3", l.Established, l.LostInHold)
			}
			if more[0] != "--endpoints" {
				return
			}
			// A heading, both ends of all that was up when it was measured, and a listener.
			if n := bytes.Count(readFile(t, c.cmd.Dir+"/ep.csv"), []byte("\n")); n != 1+2*2000+1 {
				t.Errorf("the list of endpoints has %d lines", n)
			}
		})
	}
}

// aborts has the kernel reset n of the connections in a load process's network namespace, as ss -K does.
func aborts(t *testing.T, pid, n int) {
	t.Helper()
	const serverPort = 8090
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread stays in that namespace until it ends
		failed <- func() error {
			netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
			if err != nil {
				return err
			}
			defer netns.Close()
			if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			list, err := netlink.SocketDiagTCP(unix.AF_INET)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(s *netlink.Socket) bool { return s.ID.DestinationPort != serverPort })
			if len(list) < n {
				return fmt.Errorf("there are %d connecting ends", len(list))
			}
			for _, s := range list[:n] {
				if err := netlink.SocketDestroy(&net.TCPAddr{IP: s.ID.Source, Port: int(s.ID.SourcePort)},
					&net.TCPAddr{IP: s.ID.Destination, Port: int(s.ID.DestinationPort)}); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	if err := <-failed; err != nil {
		t.Fatalf("reset a connection: %v", err)
	}
}

func TestNoProfileGivesLoadFiguresAndNoAccount(t *testing.T) {
	cmd := command(t, "run", "--conns", "5k", "--no-profile")
	r := finish(t, cmd).exits(t, exitDone)
	rec := readOne(t, cmd.Dir+"/connprof.json")
	l := rec.Load
	if l.Established != 5000 || l.Failed != 0 || l.ConnectsPerSecond <= 0 || l.ConnectSeconds <= 0 {
		t.Errorf("load: %+v", l)
	}
	if len(rec.Hooks)+len(rec.Endpoints)+len(rec.Stacks)+len(rec.Top) != 0 || rec.Cost.BPFMapBytes != 0 {
		t.Errorf("an account without a profiler: %+v", rec)
	}
	says(t, "stdout", r.stdout, "5,000 of 5,000")
	if strings.Contains(r.stdout, "Client endpoints") {
		t.Errorf("the text has an account: %v", r)
	}
}

// Each connection is due at its time after the ramp's beginning, however late a busy host comes to the first ones.
func TestARateBoundsTheRamp(t *testing.T) {
	const n, rate = 3000, 1000
	rec := counted(t, command(t, "run", "--conns", fmt.Sprint(n), "--rate", fmt.Sprint(rate)), n)
	if l := rec.Load; l.FirstConnectSeconds+l.ConnectSeconds < (n-2)/float64(rate) {
		t.Errorf("%d connections, %d a second, were up %.2f s after the command's start", n, rate, l.FirstConnectSeconds+l.ConnectSeconds)
	}
}

func TestFilesMadeUnderSudoBelongToTheInvokingUser(t *testing.T) {
	cmd := command(t, "run", "--conns", "1k", "-o", "rec.json", "--html", "page.html", "--endpoints", "ep.csv")
	sudo := []string{fmt.Sprintf("SUDO_UID=%d", nobody), fmt.Sprintf("SUDO_GID=%d", nobody)}
	cmd.Env = append(cmd.Env, sudo...)
	finish(t, cmd).exits(t, exitDone)
	report := command(t, "report", "rec.json", "--pprof", "conn.pb.gz")
	report.Dir, report.Env = cmd.Dir, append(report.Env, sudo...)
	finish(t, report).exits(t, exitDone)
	for _, name := range []string{"rec.json", "page.html", "ep.csv", "conn.pb.gz"} {
		info, err := os.Stat(filepath.Join(cmd.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid != nobody || st.Gid != nobody || info.Mode() != 0o644 {
			t.Errorf("%s belongs to %d:%d with mode %v, want %d:%d -rw-r--r--", name, st.Uid, st.Gid, info.Mode(), nobody,
				nobody)
		}
	}
}

func TestAnOutputTakesThePlaceOfTheOldOne(t *testing.T) {
	cmd := command(t, "run", "--conns", "1k", "--no-profile", "-o", "rec.json")
	if err := os.WriteFile(cmd.Dir+"/rec.json", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	finish(t, cmd).exits(t, exitDone)
	readOne(t, cmd.Dir+"/rec.json")
	only(t, cmd.Dir, "rec.json")
}
