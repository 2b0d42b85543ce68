package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/checkreport"
)

// example runs into a limit: the walk through docs/guide/limits.md is made of these.
type example struct {
	limit   string // as connprof check names it
	command string // to be pasted into a root shell in the repository's directory
	// says is what the kernel and connprof answer. docs/guide/limits.md has it too.
	says []string
	// needs is a file without which the kernel has no such limit; without is what connprof check says of it then.
	needs, without string
}

// inNetns is a script in a network namespace of its own.
func inNetns(lines ...string) string {
	return "unshare --net bash -c '\n  ip link set lo up\n  " + strings.Join(lines, "\n  ") + "'"
}

// madeSmall shows one command another number in a file of /proc/sys. Nothing is changed: the file is covered, in a mount
// namespace of the command's own.
func madeSmall(file, numbers, command string) string {
	return "unshare --mount bash -c '\n  mount -t tmpfs none /mnt && echo " + numbers + " >/mnt/small\n  mount --bind /mnt/small " +
		file + "\n  " + command + "'"
}

// inCgroup is a script in a cgroup of its own, under version 1 or 2. Its processes end with it.
func inCgroup(controller, name, v1, v2, value string, lines ...string) string {
	dir := "$G/" + name
	return fmt.Sprintf(`G=/sys/fs/cgroup/%s L=%s
[ -d $G ] || { G=/sys/fs/cgroup L=%s; }
mkdir -p %s && echo %s >%s/$L
export G L; unshare --net --pid --fork --kill-child bash -c '
  ip link set lo up
  echo 0 >%s/cgroup.procs
  %s'
for i in 1 2 3 4 5; do rmdir %s 2>/dev/null && break; sleep 0.2; done`, controller, v1, v2, dir, value, dir, dir, strings.Join(lines, "\n  "), dir)
}

var examples = []example{
	{limit: "client ports",
		command: inNetns(`sysctl -qw net.ipv4.ip_local_port_range="40000 40009"`, "perl test/hold/hold.pl 11",
			"connprof check --conns 11 --ips 1 --as client >/dev/null"),
		says: []string{"connection 11: connect: Cannot assign requested address",
			"11 connections as client do not fit: stopped at 10 by client ports (net.ipv4.ip_local_port_range); " +
				"fix: sysctl -w net.ipv4.ip_local_port_range='40000 65535'"}},
	{limit: "reserved ports",
		command: inNetns(`sysctl -qw net.ipv4.ip_local_port_range="40000 40009" net.ipv4.ip_local_reserved_ports=40000-40003`,
			"perl test/hold/hold.pl 10", "connprof check --conns 10 --ips 1 --as client | grep -A 1 ports"),
		says: []string{"connection 7: connect: Cannot assign requested address", "40000-40009 without 4 reserved ports",
			"stopped at 6 by client ports"}},
	{limit: "ports bound first",
		command: inNetns(`sysctl -qw net.ipv4.ip_local_port_range="40000 40009"`,
			`connprof check --conns 100 --ips 1 --ports 10 --as client | grep -e "client ports" -e "bound first"`),
		says: []string{"client ports net.ipv4.ip_local_port_range 10 10 ok", "ports bound first net.ipv4.ip_local_port_range 10 100 warns*"}},
	{limit: "nofile (soft)",
		command: inNetns("ulimit -Sn 100", "perl test/hold/hold.pl 100", "connprof check --conns 100 --as client >/dev/null"),
		says: []string{": socket: Too many open files",
			"stopped at 84 by nofile (soft) (RLIMIT_NOFILE, ulimit -Sn); fix: ulimit -Sn 116"}},
	{limit: "nofile (hard)",
		command: "setpriv --bounding-set=-sys_resource prlimit --nofile=100:100 bash -c '\n  ulimit -n 200\n" +
			"  connprof check --conns 100 --as client --ips 1 | grep -A 1 nofile'",
		says: []string{"ulimit: open files: cannot modify limit: Operation not permitted",
			"this process lacks CAP_SYS_RESOURCE: raise it where the shell is started",
			"stopped at 84 by nofile (hard) (RLIMIT_NOFILE, ulimit -Hn); fix: prlimit --pid $$ --nofile=116:116"}},
	{limit: "nofile ceiling",
		command: "prlimit --nofile=$(($(sysctl -n fs.nr_open) + 1)) true\n" + madeSmall("/proc/sys/fs/nr_open", "100",
			"connprof check --conns 100 --as client >/dev/null"),
		says: []string{"prlimit: failed to set the NOFILE resource limit: Operation not permitted",
			"stopped at 84 by nofile ceiling (fs.nr_open); fix: sysctl -w fs.nr_open=116"}},
	{limit: "open files (all)",
		command: madeSmall("/proc/sys/fs/file-nr", "3000 0 13200", "connprof check --conns 300 --as client >/dev/null"),
		says:    []string{"stopped at 200 by open files (all) (fs.file-max); fix: sysctl -w fs.file-max=23300"}},
	{limit: "epoll watches",
		command: madeSmall("/proc/sys/fs/epoll/max_user_watches", "100", "connprof check --conns 60 >/dev/null"),
		says: []string{"60 connections with both ends do not fit: stopped at 50 by epoll watches (fs.epoll.max_user_watches); " +
			"fix: sysctl -w fs.epoll.max_user_watches=120"}},
	{limit: "threads (user)",
		command: inNetns("setpriv --reuid 64321 --regid 64321 --clear-groups prlimit --nproc=10 perl - 20 fork <test/hold/hold.pl",
			"ulimit -u 100", "connprof check --conns 100 --as server --threads-per-connection >/dev/null"),
		says: []string{": fork: Resource temporarily unavailable",
			"stopped at 84 by threads (user) (RLIMIT_NPROC, ulimit -u); fix: ulimit -u 116"}},
	{limit: "cgroup pids", needs: "/proc/self/cgroup", without: "no limit",
		command: inCgroup("pids", "connprof-30", "pids.max", "pids.max", "30", "perl test/hold/hold.pl 40 fork",
			"connprof check --conns 40 --as server --threads-per-connection >/dev/null"),
		says: []string{": fork: Resource temporarily unavailable", "by cgroup pids (/sys/fs/cgroup/", "connprof-30/pids.max"}},
	{limit: "threads (all)",
		command: madeSmall("/proc/sys/kernel/threads-max", "100",
			"connprof check --conns 10 --as server --threads-per-connection >/dev/null"),
		says: []string{"by threads (all) (kernel.threads-max); fix: sysctl -w kernel.threads-max="}},
	{limit: "process IDs",
		command: madeSmall("/proc/sys/kernel/pid_max", "100",
			"connprof check --conns 10 --as server --threads-per-connection >/dev/null"),
		says: []string{"by process IDs (kernel.pid_max); fix: sysctl -w kernel.pid_max="}},
	{limit: "mappings",
		command: madeSmall("/proc/sys/vm/max_map_count", "1100",
			"connprof check --conns 51 --as server --threads-per-connection >/dev/null"),
		says: []string{"stopped at 50 by mappings (vm.max_map_count); fix: sysctl -w vm.max_map_count=1102"}},
	{limit: "memory cgroup", needs: "/proc/self/cgroup", without: "no limit",
		command: inCgroup("memory", "connprof-256", "memory.limit_in_bytes", "memory.max", "256M", "ulimit -Sn $(ulimit -Hn)",
			`for i in 1 2 3 4 5; do unshare --net bash -c "ip link set lo up; perl test/hold/hold.pl 12000; true" & done; wait`,
			`grep -h "^oom_kill [1-9]" $G/connprof-256/memory.{oom_control,events} 2>/dev/null`,
			`connprof check --conns 31k 2>/dev/null | grep -A 2 "^  memory cgroup"`, "connprof run --conns 50k"),
		says: []string{"oom_kill ", "connprof-256/memory.", "256.0 MiB", "too low", "the cgroup's OOM killer",
			"run: 50000 connections need about "}},
	{limit: "memory",
		command: madeSmall("/proc/meminfo", `-e "MemTotal: 90000 kB\nMemAvailable: 1000 kB\nSlab: 1 kB"`,
			"connprof check --conns 500 --as client >/dev/null"),
		says: []string{"by memory (MemAvailable); fix: --conns 2"}},
	{limit: "accept queue",
		command: inNetns("sysctl -qw net.core.somaxconn=4 net.ipv4.tcp_syn_retries=1", "perl test/hold/hold.pl 10 queue",
			"connprof check --conns 10 --as server | grep -A 2 somaxconn"),
		says: []string{"connection 6: connect: Connection timed out", "net.core.somaxconn 4 10 warns*",
			"> sysctl -w net.core.somaxconn=10"}},
	{limit: "SYN backlog",
		command: inNetns("sysctl -qw net.ipv4.tcp_syncookies=0 net.ipv4.tcp_max_syn_backlog=10 net.ipv4.tcp_syn_retries=1",
			"perl test/hold/hold.pl 20 silent", "connprof check --conns 20 --as server | grep -A 2 tcp_max_syn_backlog"),
		says: []string{"connection 10: connect: Connection timed out", "net.ipv4.tcp_max_syn_backlog 10 20 warns*",
			"> sysctl -w net.ipv4.tcp_max_syn_backlog=20"}},
	{limit: "TIME_WAIT",
		command: inNetns("sysctl -qw net.ipv4.tcp_max_tw_buckets=5", "perl test/hold/hold.pl 20 close",
			"ss -Htan state time-wait | wc -l", "nstat -az TcpExtTCPTimeWaitOverflow",
			"connprof check --conns 20 | grep -A 2 tcp_max_tw_buckets"),
		says: []string{"20 connections\n5\n", "TcpExtTCPTimeWaitOverflow 15", "sockets closed beyond it skip TIME_WAIT",
			"> sysctl -w net.ipv4.tcp_max_tw_buckets="}},
	{limit: "established hash", needs: "/proc/sys/net/ipv4/tcp_child_ehash_entries", without: "before Linux 6.1",
		command: "unshare --net bash -c '\n  sysctl -qw net.ipv4.tcp_child_ehash_entries=16\n" +
			"  unshare --net connprof check --conns 100 | grep -A 2 tcp_ehash_entries'",
		says: []string{"net.ipv4.tcp_ehash_entries 16 256 warns*", "each packet searches a longer chain",
			"> boot with thash_entries=256, or sysctl -w net.ipv4.tcp_child_ehash_entries=256; unshare --net"}},
	{limit: "bind hash", needs: "/proc/sys/net/ipv4/tcp_child_ehash_entries", without: "before Linux 6.1",
		command: "connprof check --conns 100k | grep -A 3 'bind hash'",
		says:    []string{"65,536 100,000 warns", "> nothing: the kernel makes no more than 65,536 buckets"}},
	{limit: "queued data",
		command: madeSmall("/proc/sys/net/ipv4/tcp_mem", "10 20 30", "connprof check --conns 1000 | grep -A 3 tcp_mem"),
		says: []string{"with a page queued on every end at once, segments are dropped; idle connections need none",
			"> sysctl -w net.ipv4.tcp_mem="}},
	{limit: "orphans",
		command: madeSmall("/proc/sys/net/ipv4/tcp_max_orphans", "5", "connprof check --conns 1000 | grep -A 2 tcp_max_orphans"),
		says: []string{"when a process ends with all its connections open, those beyond it are reset at once",
			"> sysctl -w net.ipv4.tcp_max_orphans="}},
	{limit: "conntrack", needs: "/proc/sys/net/netfilter/nf_conntrack_count", without: "the kernel has not loaded it",
		command: madeSmall("/proc/sys/net/netfilter/nf_conntrack_count", "100",
			"echo 150 >/mnt/max; mount --bind /mnt/max /proc/sys/net/netfilter/nf_conntrack_max\n"+
				"  connprof check --conns 60 --as client >/dev/null"),
		says: []string{"stopped at 50 by conntrack (net.netfilter.nf_conntrack_max); " +
			"fix: sysctl -w net.netfilter.nf_conntrack_max=10160"}},
	{limit: "neighbour table",
		command: madeSmall("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "10",
			"connprof check --conns 20 --ips 20 --as server >/dev/null"),
		says: []string{"by neighbour table (net.ipv4.neigh.default.gc_thresh3); fix: sysctl -w net.ipv4.neigh.default.gc_thresh3="}},
}

// blanks makes one of several blanks: the width of a column depends on the host.
func blanks(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

// exampleLimit ends an example that hangs.
const exampleLimit = time.Minute

// shell runs a script as a user would, in the repository's directory with connprof in the path.
func shell(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = "../.."
	cmd.Env = []string{"PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C"}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(exampleLimit, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	_ = cmd.Wait() // connprof check that finds something too low fails, and so does a program that runs into it
	return out.String()
}

func TestEveryExampleRunsIntoItsLimit(t *testing.T) {
	for _, e := range examples {
		t.Run(e.limit, func(t *testing.T) {
			t.Parallel() // some wait for a timeout
			if _, err := os.Stat(e.needs); e.needs != "" && err != nil {
				says(t, "without it, check", shell(t, "connprof check | grep -A 1 '"+e.limit+"'"), e.without)
				return
			}
			says(t, e.command, blanks(shell(t, e.command)), e.says...)
		})
	}
}

func TestThePageHasEveryExampleAndItsAnswer(t *testing.T) {
	page := string(readFile(t, "../../docs/guide/limits.md"))
	for _, e := range examples {
		says(t, "docs/guide/limits.md", page, e.command)
		says(t, "docs/guide/limits.md", blanks(page), e.says...)
	}
}

func TestEveryLimitHasAnExample(t *testing.T) {
	var doc checkreport.Document
	r := connprof(t, "check", "--conns", "1", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
	shown := map[string]bool{}
	for _, e := range examples {
		shown[e.limit] = true
	}
	for _, l := range doc.Limits {
		if !shown[l.Name] {
			t.Errorf("no example runs into %s", l.Name)
		}
		delete(shown, l.Name)
	}
	for name := range shown {
		t.Errorf("the example for %q is of no limit", name)
	}
}
