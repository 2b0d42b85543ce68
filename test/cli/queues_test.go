package cli

import (
	"encoding/csv"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/test/check"
)

// queueBytes sums what `ss` calls Recv-Q and Send-Q, data that nobody has read or acknowledged, over the connections in the
// namespace of a process.
func queueBytes(t *testing.T, pid int) (received, sent uint64) {
	t.Helper()
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-n", "ss", "-tnHO").CombinedOutput()
	if err != nil {
		t.Fatalf("ss -tnHO: %v: %s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Fields(line)
		if len(f) < 5 {
			t.Fatalf("ss prints %q", line)
		}
		r, err1 := strconv.ParseUint(f[1], 10, 64)
		s, err2 := strconv.ParseUint(f[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		received, sent = received+r, sent+s
	}
	return received, sent
}

var sendQueue = regexp.MustCompile(`,tb(\d+),f\d+,w(\d+),`)

// fullSendQueues counts the connections whose send queue has as much in it as the buffer has bytes, by `ss -m`.
func fullSendQueues(t *testing.T, pid int) (full int) {
	t.Helper()
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-n", "ss", "-tnmHO").CombinedOutput()
	if err != nil {
		t.Fatalf("ss -tnmHO: %v: %s", err, out)
	}
	for _, m := range sendQueue.FindAllStringSubmatch(string(out), -1) {
		most, err1 := strconv.Atoi(m[1])
		queued, err2 := strconv.Atoi(m[2])
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if queued >= most {
			full++
		}
	}
	return full
}

var memPages = regexp.MustCompile(`(?m)^TCP:.* mem (\d+)`)

// bookedBytes is what the kernel has booked for queued data of the whole host against net.ipv4.tcp_mem.
func bookedBytes(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	m := memPages.FindSubmatch(text)
	if m == nil {
		t.Fatalf("/proc/net/sockstat has no pages of TCP:\n%s", text)
	}
	n, err := strconv.ParseUint(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * uint64(os.Getpagesize())
}

// reservedEach is what a CPU may have booked or given back, in bytes, before the kernel's counter says so (SK_MEMORY_PCPU_RESERVE).
const reservedEach = 1 << 20

// planned is what the plan has of a limit.
func planned(t *testing.T, m *recording.Machine, limit string) uint64 {
	t.Helper()
	for _, row := range m.Plan {
		if row.Limit == limit {
			return row.Need
		}
	}
	t.Fatalf("the plan has no %s: %+v", limit, m.Plan)
	return 0
}

// heldRun is a run whose connections are open while they are looked at from outside.
type heldRun struct {
	rec            *recording.Machine
	received, sent uint64            // by ss
	buffers        map[string]uint64 // by ss -m
	booked         uint64            // by /proc/net/sockstat
	listening      string            // ss of the listeners
	full           int               // by ss -m, send queues
	rows           [][]string        // of --endpoints
}

// holdOpen makes a run with the given flags, looks at its connections from outside and ends it.
func holdOpen(t *testing.T, flags ...string) heldRun {
	t.Helper()
	dir := t.TempDir()
	path, list := filepath.Join(dir, "rec.json"), filepath.Join(dir, "all.csv")
	c := start(t, command(t, append([]string{"run", "--hold", "1h", "--endpoints", list, "-o", path}, flags...)...))
	c.until(t, "account", func() bool { return strings.Contains(c.stderr.String(), "wrote ") })
	pid := c.worker("server")
	h := heldRun{buffers: ssBuffers(t, pid), booked: bookedBytes(t)}
	h.received, h.sent = queueBytes(t, pid)
	h.full = fullSendQueues(t, pid)
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-n", "ss", "-tlnHO").CombinedOutput()
	if err != nil {
		t.Fatalf("ss -tlnHO: %v: %s", err, out)
	}
	h.listening = string(out)
	c.signal(t, 15)
	c.wait(t)
	h.rec = readOne(t, path)
	if h.rows, err = csv.NewReader(strings.NewReader(string(readFile(t, list)))).ReadAll(); err != nil {
		t.Fatal(err)
	}
	return h
}

// checkQueues holds the recording against what ss and the kernel's books say.
func (h heldRun) checkQueues(t *testing.T, scenario string, conns int) {
	t.Helper()
	s, ok := load.FindScenario(scenario)
	if !ok {
		t.Fatalf("there is no scenario %s", scenario)
	}
	if err := check.Load(h.rec, conns); err != nil {
		t.Error(err)
	}
	if c, v := h.rec.CountIn(kernel.RoleClient, s.Client), h.rec.CountIn(kernel.RoleServer, s.Server); c != conns || v != conns {
		t.Errorf("%d clients in %s and %d servers in %s, want %d", c, s.Client, v, s.Server, conns)
	}
	l := h.rec.Load
	if l.UnreadBytes != h.received || l.UnackedBytes != h.sent {
		t.Errorf("%d bytes unread and %d not acknowledged by the walk; ss says %d and %d", l.UnreadBytes, l.UnackedBytes, h.received, h.sent)
	}
	checkBuffers(t, h.rows, h.buffers, 2*conns)
	queued, need := l.UnreadBytes+l.UnackedBytes, planned(t, h.rec, "queued data")
	if off := uint64(runtime.NumCPU() * reservedEach); h.booked > need+off || h.booked+off < queued {
		t.Errorf("the kernel has booked %d bytes for %d that are queued; the plan has %d", h.booked, queued, need)
	}
}

func TestUnacceptedConnectionsFillTheirQueues(t *testing.T) {
	const n, payload = 400, 20_000
	for _, flags := range [][]string{nil, {"--ipv6", "--ports", "2"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			h := holdOpen(t, append(flags, "--scenario", "unaccepted", "--conns", strconv.Itoa(n), "--payload", "20k")...)
			h.checkQueues(t, "unaccepted", n)
			if h.received != n*payload || h.sent != 0 {
				t.Errorf("ss: %d bytes unread and %d not acknowledged of %d x %d", h.received, h.sent, n, payload)
			}
			queued := 0
			for _, line := range strings.Split(strings.TrimSpace(h.listening), "\n") {
				f := strings.Fields(line) // state, those that wait, the most that may, address
				if len(f) < 4 {
					t.Fatalf("ss prints %q", line)
				}
				waits, err1 := strconv.Atoi(f[1])
				most, err2 := strconv.Atoi(f[2])
				if errors.Join(err1, err2) != nil || waits != most+1 {
					t.Errorf("ss shows an accept queue that is not full: %s", line)
				}
				queued += waits
			}
			if queued != n {
				t.Errorf("ss: %d wait to be accepted, want %d", queued, n)
			}
			if err := check.Losses(h.rec); err != nil {
				t.Error(err)
			}
			if notes := strings.Join(h.rec.Notes, "; "); strings.Contains(notes, "accept queues") {
				t.Errorf("notes: %s", notes)
			}
		})
	}
}

func TestBackpressureFillsBothQueuesOfBothEnds(t *testing.T) {
	const n = 100
	for _, flags := range [][]string{nil, {"--ipv6", "--rmem", "300k", "--wmem", "100k"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			h := holdOpen(t, append(flags, "--scenario", "backpressure", "--conns", strconv.Itoa(n))...)
			h.checkQueues(t, "backpressure", n)
			if h.full != 2*n {
				t.Errorf("ss: %d of %d send queues are full", h.full, 2*n)
			}
		})
	}
}

func TestTheWalkFindsThePayloadThatSSShows(t *testing.T) {
	const n, payload = 300, 300_000
	for _, flags := range [][]string{{"--scenario", "unread"}, {"--scenario", "unread-client", "--ipv6"}, {"--scenario", "sendfile"}} {
		t.Run(strings.Join(flags[1:], " "), func(t *testing.T) {
			h := holdOpen(t, append(flags, "--conns", strconv.Itoa(n), "--payload", "300k", "--rmem", "1.2M")...)
			h.checkQueues(t, flags[1], n)
			if h.rec.Load.PayloadBytes != payload || h.received != n*payload || h.sent != 0 {
				t.Errorf("ss: %d bytes unread and %d not acknowledged of %d x %d", h.received, h.sent, n, h.rec.Load.PayloadBytes)
			}
		})
	}
}
