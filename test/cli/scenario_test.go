package cli

import (
	"encoding/csv"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/load"
)

// skmem is what `ss -m` prints of a socket's memory: receive queue, send queue, options and backlog count as buffers.
var skmem = regexp.MustCompile(`skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f\d+,w(\d+),o(\d+),bl(\d+),d\d+\)`)

// ssBuffers asks ss in the namespace of a process for the buffer bytes of every connection, by its two addresses.
func ssBuffers(t *testing.T, pid int) map[string]uint64 {
	t.Helper()
	out, err := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-n", "ss", "-tnmHO").CombinedOutput()
	if err != nil {
		t.Fatalf("ss -tnmHO: %v: %s", err, out)
	}
	buffers := map[string]uint64{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Fields(line)
		m := skmem.FindStringSubmatch(line)
		if len(f) < 5 || m == nil {
			t.Fatalf("ss prints %q", line)
		}
		sum := uint64(0)
		for _, digits := range m[1:] {
			n, err := strconv.ParseUint(digits, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		buffers[f[3]+" "+f[4]] = sum
	}
	return buffers
}

func TestBufferBytesAreThoseOfSS(t *testing.T) {
	const n = 500
	for _, scenario := range []string{"hello", "unread", "unread-client", "sendfile", "half-closed"} {
		t.Run(scenario, func(t *testing.T) {
			dir := t.TempDir()
			list := filepath.Join(dir, "all.csv")
			c := start(t, command(t, "run", "--conns", strconv.Itoa(n), "--scenario", scenario, "--payload", "10000",
				"--hold", "1h", "--endpoints", list, "-o", filepath.Join(dir, "rec.json")))
			c.until(t, "account", func() bool { return strings.Contains(c.stderr.String(), "wrote ") })
			want := ssBuffers(t, c.worker("server"))
			c.signal(t, 15)
			c.wait(t)
			rows, err := csv.NewReader(strings.NewReader(string(readFile(t, list)))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			checkBuffers(t, rows, want, 2*n)
		})
	}
}

func checkBuffers(t *testing.T, rows [][]string, want map[string]uint64, endpoints int) {
	t.Helper()
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	compared := 0
	for _, row := range rows[1:] {
		if row[at["role"]] == "listener" {
			continue
		}
		key := net.JoinHostPort(row[at["local_address"]], row[at["local_port"]]) + " " +
			net.JoinHostPort(row[at["remote_address"]], row[at["remote_port"]])
		ss, ok := want[key]
		if !ok {
			t.Fatalf("ss does not list %s", key)
		}
		if got := row[at["buffer_bytes"]]; got != strconv.FormatUint(ss, 10) {
			t.Fatalf("%s: %s buffer bytes, ss says %d", key, got, ss)
		}
		compared++
	}
	if compared != endpoints {
		t.Errorf("compared %d endpoints, want %d", compared, endpoints)
	}
}

func TestAllScenariosMakeOneTableAndARecordingEach(t *testing.T) {
	dir := t.TempDir()
	out := connprof(t, "run", "--scenario", "all", "--conns", "200", "-o", filepath.Join(dir, "x.json.gz")).exits(t, exitDone)
	for _, s := range load.Scenarios {
		rec := readOne(t, filepath.Join(dir, "x-"+s.Name+".json.gz"))
		if rec.Load.Scenario != s.Name || rec.Load.Established != s.AmongAll(200) {
			t.Errorf("%s: recording of %s with %d up", s.Name, rec.Load.Scenario, rec.Load.Established)
		}
		for _, text := range []string{s.Name, s.Client, s.Server} {
			if !strings.Contains(out.stdout, text) {
				t.Errorf("%s: no %q in the table\n%s", s.Name, text, out.stdout)
			}
		}
	}
}
