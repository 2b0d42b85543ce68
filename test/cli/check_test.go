package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/checkreport"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/netcfg"
)

// checked is the document of a check.
func checked(t *testing.T, r result) *checkreport.Document {
	t.Helper()
	doc := &checkreport.Document{}
	if err := json.Unmarshal([]byte(r.stdout), doc); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
	return doc
}

func limitOf(t *testing.T, doc *checkreport.Document, name string) checkreport.Limit {
	t.Helper()
	i := slices.IndexFunc(doc.Limits, func(l checkreport.Limit) bool { return l.Name == name })
	if i < 0 {
		t.Fatalf("no limit %q", name)
	}
	return doc.Limits[i]
}

func TestCheckExitsByWhetherTheyFit(t *testing.T) {
	fits := connprof(t, "check", "--conns", "10", "--json").exits(t, exitDone)
	if doc := checked(t, fits); !doc.Fits || doc.Conns != 10 || doc.Schema != checkreport.Schema || fits.stderr != "" {
		t.Errorf("ten: %v", fits)
	}
	// 2,000,000,000 sockets are beyond fs.nr_open's largest value, if beyond nothing else.
	not := connprof(t, "check", "--conns", "2147M", "--json")
	not.complains(t, exitFailed, "2147000000 connections with both ends do not fit: stopped at ", "fix: ")
	if checked(t, not).Fits {
		t.Error("they fit")
	}
}

func TestCheckPrintsTableSentencesAndFeatures(t *testing.T) {
	text := connprof(t, "check", "--conns", "10", "--as", "server").exits(t, exitDone).stdout
	says(t, "check", text, "limit", "where", "in use", "needed", "verdict", "net.ipv4.ip_local_port_range", "fs.file-max", "RLIMIT_NOFILE",
		"kernel.threads-max", "kernel.pid_max", "MemAvailable", "net.ipv4.tcp_mem", "net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets",
		"net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_ehash_entries", "bind hash", "conntrack", "gc_thresh3",
		"memory cgroup", "cgroup pids", "This host can hold", "as client", "as server", "with both ends", "first limit to bind",
		"Kernel features", "BTF", "ring buffer", "iterator tcp", "connect hook", "accept hook", "state hook", "destroy hook", "slab hook",
		"walk hook", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_RESOURCE", "lockdown")
	if strings.Contains(text, escape) {
		t.Error("colours in a file")
	}
}

func TestCheckKeepsToTheTerminalsWidth(t *testing.T) {
	for _, width := range []uint16{80, 100} {
		master, slave := terminal(t)
		if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, "check", "--conns", "10", "--no-color")
		shown := make(chan string)
		cmd.Stdout = slave
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		slave.Close()
		go func() {
			var all []byte
			b := make([]byte, 4096)
			for {
				n, err := master.Read(b) // EIO at the end
				all = append(all, b[:n]...)
				if err != nil {
					shown <- string(all)
					return
				}
			}
		}()
		text := <-shown
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		says(t, "the terminal", text, "client ports", "Kernel features")
		for _, line := range strings.Split(strings.ReplaceAll(text, "\r", ""), "\n") {
			if n := len([]rune(line)); n > int(width) && !strings.HasPrefix(line, "    > ") {
				t.Errorf("%d characters on a terminal of %d: %s", n, width, line)
			}
		}
	}
}

func TestCheckHasColoursOnATerminalUnlessTheyAreUnwanted(t *testing.T) {
	if !strings.Contains(onTerminal(t, command(t, "check", "--conns", "10")), escape) {
		t.Error("no colours on a terminal")
	}
	plain := command(t, "check", "--conns", "10")
	plain.Env = append(plain.Env, "NO_COLOR=1")
	for _, cmd := range []*exec.Cmd{command(t, "check", "--conns", "10", "--no-color"), plain} {
		if strings.Contains(onTerminal(t, cmd), escape) {
			t.Errorf("colours in spite of %v", cmd.Args)
		}
	}
}

func TestCheckWithoutRootShowsWhatItCan(t *testing.T) {
	cmd := asNobody(t, "check", "--conns", "10", "--json")
	doc := checked(t, finish(t, cmd).exits(t, exitDone))
	for _, l := range doc.Limits {
		if l.Verdict == string(limits.Unknown) && !strings.Contains(l.Note, "this kernel") && !strings.Contains(l.Note, "before Linux 6.1") {
			t.Errorf("%s is hidden from users: %s", l.Name, l.Note)
		}
	}
	for _, f := range doc.Features {
		if strings.HasPrefix(f.Name, "CAP_") && f.State != "missing" || strings.HasSuffix(f.Name, " hook") && f.State != "unknown" {
			t.Errorf("without root: %+v", f)
		}
		if f.State != "ok" && f.Fix == "" {
			t.Errorf("%s says not what to do", f.Name)
		}
	}
}

func TestCheckNamesAMissingCapability(t *testing.T) {
	const netAdmin, sysResource = "12", "24"
	for bit, name := range map[string]string{netAdmin: "CAP_NET_ADMIN", sysResource: "CAP_SYS_RESOURCE"} {
		doc := checked(t, finish(t, confined(t, "capability="+bit, "check", "--conns", "10", "--json")).exits(t, exitDone))
		for _, f := range doc.Features {
			if f.Name == name && (f.State != "missing" || f.Fix == "" || f.Consequence == "") {
				t.Errorf("%+v", f)
			}
		}
	}
}

func TestCheckRefusesNonsense(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, []byte("a shopping list\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		code int
		says []string
	}{
		{"--conns 0", exitUsage, []string{"--conns", "at least 1"}},
		{"--conns many", exitUsage, []string{"--conns", `"many"`, "20k"}},
		{"--conns -5", exitUsage, []string{"--conns", `"-5"`}},
		{"--conns 99999M", exitUsage, []string{"--conns", "at most"}},
		{"--ips 0", exitUsage, []string{"--ips 0", "1 to 65535"}},
		{"--ports 65536", exitUsage, []string{"--ports 65536", "1 to 65535"}},
		{"--as peer", exitUsage, []string{`--as "peer"`, "client, server or both"}},
		{"--fix --restore", exitUsage, []string{"--fix and --restore", "one of them"}},
		{"--fix --json", exitUsage, []string{"--json", "leave out --fix"}},
		{"--journal=", exitUsage, []string{"--journal", "file name"}},
		{"now", exitUsage, []string{`"now"`, "check --help"}},
		{"--recording /no/such/file", exitFailed, []string{"/no/such/file", "no such file"}},
		{"--recording " + foreign, exitFailed, []string{foreign, "not"}},
		{"--restore --journal /no/such/place/j.json", exitFailed, []string{"nothing to restore", "/no/such/place/j.json", "--journal"}},
		{"--restore --journal " + foreign, exitFailed, []string{"journal " + foreign + " is damaged", "mv " + foreign}},
	} {
		t.Run(c.line, func(t *testing.T) {
			connprof(t, append([]string{"check"}, strings.Fields(c.line)...)...).refuses(t, c.code, c.says...)
		})
	}
	finish(t, asNobody(t, "check", "--restore")).refuses(t, exitFailed, "restore")
}

// recordingOf writes a recording in which endpoints of a kernel cost so much.
func recordingOf(t *testing.T, path, release string, client, server uint64) {
	t.Helper()
	m := &recording.Machine{Host: recording.Host{Kernel: release}, Endpoints: []recording.EndpointRow{
		{Role: kernel.RoleClient, State: "TIME_WAIT", Count: 10, PageBytes: 1},
		{Role: kernel.RoleClient, State: "ESTABLISHED", Count: 10, PageBytes: 10 * client},
		{Role: kernel.RoleServer, State: "ESTABLISHED", Count: 10, PageBytes: 10 * server}}}
	rec := &recording.Recording{Schema: recording.Schema, Kind: recording.KindRun, Machines: []*recording.Machine{m}}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := rec.Write(f); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryIsJudgedByTheRecordedCost(t *testing.T) {
	release, _ := kernel.Release()
	for _, c := range []struct {
		name, release string
		args          []string
		client        uint64
		source        string
	}{
		{"connprof.json", release, nil, 5000, "measured on kernel " + release + ", connprof.json"},
		{"connprof.json", "5.4.0", nil, limits.ConnectionBytes / 2, "assumed: connprof run measures it; connprof.json is of kernel 5.4.0"},
		{"other.json", "5.4.0", []string{"--recording", "other.json"}, 5000, "measured on kernel 5.4.0, other.json"},
		{"other.json", release, nil, limits.ConnectionBytes / 2, "assumed: connprof run measures it"},
	} {
		cmd := command(t, append([]string{"check", "--conns", "1000", "--json"}, c.args...)...)
		recordingOf(t, filepath.Join(cmd.Dir, c.name), c.release, 5000, 4000)
		doc := checked(t, finish(t, cmd).exits(t, exitDone))
		if got := doc.EndpointBytes; got.Client != c.client || got.Source != c.source {
			t.Errorf("%s of %s: %+v", c.name, c.release, got)
		}
		if need := limitOf(t, doc, "memory").Need; c.client == 5000 && need != 10_000_000 { // a tenth is left to the host
			t.Errorf("memory needed: %d", need)
		}
	}
}

func TestConntrackIsInThePathOnceItHasEntries(t *testing.T) {
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	judge := func() (row limits.Row) {
		_ = network.Do(func() error {
			rows := limits.Judge(limits.Host{}, limits.Demand{Conns: 10, Role: kernel.RoleClient, Addresses: 1, Ports: 1})
			row = rows[slices.IndexFunc(rows, func(r limits.Row) bool { return r.Limit == "conntrack" })]
			return nil
		})
		return row
	}
	// It is not the first one: what the host tracks of it cannot be seen.
	const unseen = "the host's table cannot be seen"
	if row := judge(); !strings.Contains(row.Note, unseen) || row.Verdict != limits.Unknown {
		t.Errorf("in a fresh namespace: %+v", row)
	}
	flow := &netlink.ConntrackFlow{FamilyType: unix.AF_INET, TimeOut: 60,
		Forward:   netlink.IPTuple{SrcIP: []byte{198, 18, 1, 1}, DstIP: []byte{198, 18, 0, 1}, SrcPort: 1, DstPort: 2, Protocol: unix.IPPROTO_TCP},
		Reverse:   netlink.IPTuple{SrcIP: []byte{198, 18, 0, 1}, DstIP: []byte{198, 18, 1, 1}, SrcPort: 2, DstPort: 1, Protocol: unix.IPPROTO_TCP},
		ProtoInfo: &netlink.ProtoInfoTCP{State: 3}}
	err = network.Do(func() error { return netlink.ConntrackCreate(netlink.ConntrackTable, unix.AF_INET, flow) })
	row := judge()
	if err != nil { // a kernel without CONFIG_NF_CT_NETLINK
		if !strings.Contains(row.Note, unseen) {
			t.Errorf("no entry was made (%v): %+v", err, row)
		}
		return
	}
	if row.Used != 1 || row.Need != 11 || strings.Contains(row.Note, unseen) {
		t.Errorf("with an entry: %+v", row)
	}
}

// inPrivateNetns runs a script as shell does, in a network namespace of its own whose port range is small; $J is a
// journal's name.
func inPrivateNetns(t *testing.T, journal string, lines ...string) string {
	t.Helper()
	return shell(t, "export J="+journal+"; "+inNetns(append([]string{
		`sysctl -qw net.ipv4.ip_local_port_range="40000 40009"`, `ports() { cat /proc/sys/net/ipv4/ip_local_port_range; }`,
		`fix() { connprof check --conns 1000 --ips 1 --as client --fix --journal $J; }`,
		`restore() { connprof check --restore --journal $J; }`}, lines...)...))
}

const raisedRange, oldRange = "40000\t65535\n", "40000\t40009\n"

func TestFixShowsRaisesAndTellsHowToKeepIt(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "limits.json")
	text := inPrivateNetns(t, journal, "fix; echo exit $?", "ports", "fix; echo exit $?", "restore; echo exit $?", "ports",
		"restore; echo exit $?")
	says(t, "fix and restore", text,
		"client ports is too low: net.ipv4.ip_local_port_range 40000 40009, needed 40000 65535\n"+
			"net.ipv4.ip_local_port_range: 40000 40009 -> 40000 65535\n",
		"the old values are in "+journal+"; to put them back: connprof check --restore --journal "+journal,
		"/etc/sysctl.d/90-connprof.conf:\nnet.ipv4.ip_local_port_range = 40000 65535\nexit 0\n"+raisedRange,
		"no sysctl is too low: nothing is raised\nexit 0\n",
		"net.ipv4.ip_local_port_range: 40000 65535 -> 40000 40009\nexit 0\n"+oldRange,
		"connprof: restore: nothing to restore: there is no journal "+journal)
	if left, err := os.ReadDir(filepath.Dir(journal)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestFixThatIsKilledIsRepaired(t *testing.T) {
	for _, seconds := range []string{"0.005", "0.02", "0.04", "0.08", "0.15"} {
		journal := filepath.Join(t.TempDir(), "limits.json")
		text := inPrivateNetns(t, journal, "export -f fix; timeout -s KILL "+seconds+" bash -c fix >/dev/null 2>&1",
			"restore", "echo now: $(ports)", "ls -A $(dirname $J)", "echo end")
		says(t, "killed after "+seconds+" s", text, "now: 40000 40009\nend\n")
	}
}

func TestSeveralAtOnceLeaveTheFirstValues(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "limits.json")
	text := inPrivateNetns(t, journal, "for i in 1 2 3 4; do fix & done; wait", "ports", "restore", "ports")
	says(t, "four at once", text, raisedRange, raisedRange+"net.ipv4.ip_local_port_range: 40000 65535 -> 40000 40009\n"+oldRange)
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "connprof: ") && !strings.Contains(line, "another connprof is at work") {
			t.Errorf("one of them fails: %s", line)
		}
	}
}

func TestRestoreElsewhereLeavesANamespacesSettings(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "limits.json")
	text := inPrivateNetns(t, journal, "fix >/dev/null", "export -f restore", "unshare --net bash -c restore", "ports", "restore", "ports")
	says(t, "restore in another namespace", text, "net.ipv4.ip_local_port_range was raised in another network namespace",
		raisedRange+"net.ipv4.ip_local_port_range: 40000 65535 -> 40000 40009\n"+oldRange)
	inPrivateNetns(t, journal, "fix")
	connprof(t, "check", "--restore", "--journal", journal).exits(t, exitDone)
	if _, err := os.Stat(journal); err == nil {
		t.Error("the journal of a namespace that is gone is kept")
	}
}

// fs.nr_open is the whole host's: it is only raised here, and put back.
func TestFixRaisesAndRestoresAHostsLimit(t *testing.T) {
	const path = "/proc/sys/fs/nr_open"
	before := strings.TrimSpace(string(readFile(t, path)))
	journal := filepath.Join(t.TempDir(), "limits.json")
	t.Cleanup(func() {
		connprof(t, "check", "--restore", "--journal", journal) // has nothing to do, unless the test has failed
		if now := strings.TrimSpace(string(readFile(t, path))); now != before {
			t.Errorf("fs.nr_open is %s, was %s", now, before)
			_ = os.WriteFile(path, []byte(before), 0)
		}
	})
	var n int
	if _, err := fmt.Sscan(before, &n); err != nil || n > 2_000_000_000 {
		t.Fatalf("fs.nr_open is %s: there is nothing to raise", before)
	}
	// As many as there are descriptors are 16 too many. What else is too low for them is raised and put back as well.
	text := shell(t, fmt.Sprintf("unshare --net connprof check --conns %d --ips 60000 --ports 60000 --as client --fix --journal %s", n, journal))
	says(t, "fix", text, fmt.Sprintf("fs.nr_open: %d -> %d", n, n+16))
	says(t, "restore", shell(t, "unshare --net connprof check --restore --journal "+journal), fmt.Sprintf("fs.nr_open: %d -> %d", n+16, n))
}

func TestFixRefusesWhatItCannotRaise(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "limits.json")
	text := shell(t, "setpriv --bounding-set=-sys_resource prlimit --nofile=100:100 connprof check --conns 100 --as client --fix --journal "+journal)
	says(t, "fix", text, "no sysctl is too low: nothing is raised", "nofile (hard) (RLIMIT_NOFILE, ulimit -Hn) is too low and not raised",
		"this process lacks CAP_SYS_RESOURCE", "do it by hand: prlimit --pid $$ --nofile=116:116", "connprof: check: 100 connections as client do not fit")
	cmd := asNobody(t, "check", "--conns", "2147M", "--ips", "60000", "--as", "client", "--fix", "--journal", "limits.json")
	r := finish(t, cmd)
	r.complains(t, exitFailed, "fix: set ", "permission denied", "run it as root")
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	r = finish(t, asNobody(t, "check", "--conns", "2147M", "--ips", "60000", "--as", "client", "--fix", "--journal", "/root/limits.json"))
	r.complains(t, exitFailed, "fix: keep the old values: write journal /root/limits.json: ", "permission denied", "run as root")
}
