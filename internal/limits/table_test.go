package limits

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/capability"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/privilege"
)

// roomy is a made-up host with enough of everything for a million connections with both ends, below its root.
var roomy = map[string]string{
	"/proc/sys/net/ipv4/ip_local_port_range":          "1024\t65535",
	"/proc/sys/net/ipv4/ip_local_reserved_ports":      "",
	"/proc/sys/net/ipv4/ip_unprivileged_port_start":   "1024",
	"/proc/sys/fs/file-nr":                            "1000\t0\t9223372036854775807",
	"/proc/sys/fs/file-max":                           "9223372036854775807",
	"/proc/sys/fs/nr_open":                            "1073741816",
	"/proc/sys/fs/epoll/max_user_watches":             "8000000",
	"/proc/sys/kernel/threads-max":                    "4000000",
	"/proc/sys/kernel/pid_max":                        "4194304",
	"/proc/sys/vm/max_map_count":                      "4000000",
	"/proc/sys/kernel/random/boot_id":                 "11111111-2222-3333-4444-555555555555",
	"/proc/loadavg":                                   "0.87 2.00 2.21 5/164 2560",
	"/proc/meminfo":                                   "MemTotal: 67108864 kB\nMemAvailable: 62914560 kB\nSlab: 1 kB\n",
	"/proc/net/sockstat":                              "sockets: used 9\nTCP: inuse 7 orphan 2 tw 3 alloc 8 mem 4\n",
	"/proc/net/stat/arp_cache":                        "entries  allocs\n00000003 000005bf\n",
	"/proc/sys/net/ipv4/tcp_mem":                      "1000000 2000000 4000000",
	"/proc/sys/net/ipv4/tcp_max_orphans":              "2000000",
	"/proc/sys/net/ipv4/tcp_max_tw_buckets":           "2000000",
	"/proc/sys/net/core/somaxconn":                    "65535",
	"/proc/sys/net/ipv4/tcp_max_syn_backlog":          "65535",
	"/proc/sys/net/ipv4/tcp_syncookies":               "1",
	"/proc/sys/net/ipv4/tcp_ehash_entries":            "4194304",
	"/proc/sys/net/netfilter/nf_conntrack_max":        "4000000",
	"/proc/sys/net/netfilter/nf_conntrack_count":      "50",
	"/proc/sys/net/ipv4/neigh/default/gc_thresh3":     "8192",
	"/proc/self/cgroup":                               "4:memory:/box\n3:pids:/box\n",
	"/sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712",
	"/sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1048576",
	"/sys/fs/cgroup/pids/box/pids.max":                "max",
	"/sys/fs/cgroup/pids/box/pids.current":            "20",
	"/sys/kernel/security/lockdown":                   "none [integrity] confidentiality",
	"/proc/self/limits":                               limitsFile("4000000", "4000000", "2000000"),
	"/proc/thread-self/ns/net":                        "",
}

func limitsFile(softFiles, hardFiles, processes string) string {
	return fmt.Sprintf("Limit  Soft Limit  Hard Limit  Units\nMax processes  %s  %s  processes\nMax open files  %s  %s  files\n",
		processes, processes, softFiles, hardFiles)
}

const missing = "\x00" // a file that is not there

// madeUp is the roomy host with other texts in some files.
func madeUp(t *testing.T, changed map[string]string) Host {
	t.Helper()
	h := Host{Root: t.TempDir(), SoftFiles: func() (uint64, error) { return 4_000_000, nil }, Capabilities: allBut()}
	files := maps.Clone(roomy)
	maps.Copy(files, changed)
	for path, text := range files {
		if text != missing {
			writeFile(t, filepath.Join(h.Root, path), text)
		}
	}
	return h
}

func allBut(lacking ...capability.Cap) privilege.Set {
	return func(c capability.Cap) bool { return !slices.Contains(lacking, c) }
}

// million is what the published experiment asks for.
func million() Demand {
	return Demand{Conns: 1_000_000, Role: kernel.RoleBoth, Addresses: 20, Ports: 1, ClientBytes: 4500, ServerBytes: 4500}
}

func rowOf(t *testing.T, rows []Row, name string) Row {
	t.Helper()
	for _, r := range rows {
		if r.Limit == name {
			return r
		}
	}
	t.Fatalf("no row %q", name)
	return Row{}
}

func TestARoomyHostFits(t *testing.T) {
	for _, role := range Roles {
		d := million()
		d.Role, d.ThreadEach = role, true
		rows := Judge(madeUp(t, nil), d)
		for _, r := range rows {
			if r.Verdict != OK && r.Limit != "bind hash" { // of which no kernel makes enough
				t.Errorf("%s: %s is %s: %s", role, r.Limit, r.Verdict, r.Note)
			}
		}
		if !Fits(rows) {
			t.Errorf("a million do not fit %s", role)
		}
	}
}

func TestEachLimitBindsTheRolesThatItBinds(t *testing.T) {
	const everything = NoLimit
	tests := []struct {
		limit                string
		file, text           string
		client, server, both uint64 // what it holds
		fix                  string
	}{
		{"client ports", "/proc/sys/net/ipv4/ip_local_port_range", "40000 40009", 200, everything, 200,
			"sysctl -w net.ipv4.ip_local_port_range='15536 65535'"},
		{"client ports", "/proc/sys/net/ipv4/ip_local_reserved_ports", "1024-60000", 20 * 5535, everything, 20 * 5535,
			"more client addresses: --ips 16"},
		{"open files (all)", "/proc/sys/fs/file-nr", "1000 0 31000", 20_000, 20_000, 10_000, "sysctl -w fs.file-max=2021000"},
		{"nofile ceiling", "/proc/sys/fs/nr_open", "1017", 1001, 1000, 1000, "sysctl -w fs.nr_open=1000017"},
		{"nofile (hard)", "/proc/self/limits", limitsFile("100", "117", "unlimited"), 101, 100, 100,
			"prlimit --pid $$ --nofile=1000017:1000017"},
		{"epoll watches", "/proc/sys/fs/epoll/max_user_watches", "1000", 1000, 1000, 500,
			"sysctl -w fs.epoll.max_user_watches=2000000"},
		{"threads (all)", "/proc/sys/kernel/threads-max", "1464", everything, 1000, 1000, "sysctl -w kernel.threads-max=1001464"},
		{"process IDs", "/proc/sys/kernel/pid_max", "32768", everything, 32_304, 32_304, "sysctl -w kernel.pid_max=1001464"},
		{"mappings", "/proc/sys/vm/max_map_count", "65530", everything, 32_265, 32_265, "sysctl -w vm.max_map_count=2001000"},
		{"threads (user)", "/proc/self/limits", limitsFile("9999999", "9999999", "1016"), everything, 1000, 1000,
			"ulimit -u 1000016"},
		{"cgroup pids", "/sys/fs/cgroup/pids/box/pids.max", "1036", everything, 1000, 1000,
			"echo 1000036 > /sys/fs/cgroup/pids/box/pids.max"},
		{"memory", "/proc/meminfo", "MemAvailable: 5000 kB\nSlab: 1 kB\n", 1024, 1024, 512, "--conns 512, or more memory"},
		{"memory cgroup", "/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "10048576", 2000, 2000, 1000,
			"echo 9001048576 > /sys/fs/cgroup/memory/box/memory.limit_in_bytes"},
		{"conntrack", "/proc/sys/net/netfilter/nf_conntrack_max", "1050", 1000, 1000, 1000,
			"sysctl -w net.netfilter.nf_conntrack_max=1010050"},
		{"neighbour table", "/proc/sys/net/ipv4/neigh/default/gc_thresh3", "8", everything, 5, everything, ""},
	}
	for _, test := range tests {
		t.Run(test.limit, func(t *testing.T) {
			d := million()
			d.ThreadEach = true
			r := rowOf(t, Judge(madeUp(t, map[string]string{test.file: test.text}), d), test.limit)
			for role, want := range map[kernel.Role]uint64{kernel.RoleClient: test.client, kernel.RoleServer: test.server, kernel.RoleBoth: test.both} {
				if r.Holds[role] != want {
					t.Errorf("holds %d as %s, want %d", r.Holds[role], role, want)
				}
			}
			if wanted := test.both < d.Conns; wanted != (r.Verdict == TooLow) || r.Fix != test.fix {
				t.Errorf("%s, fix %q, want %q", r.Verdict, r.Fix, test.fix)
			}
			if r.Verdict == TooLow && r.Consequence == "" {
				t.Error("it does not say what happens")
			}
		})
	}
}

// What a limit holds fits, and one more does not: the capacity and the verdict are made of one rule.
func TestWhatALimitHoldsIsWhatFits(t *testing.T) {
	tight := madeUp(t, map[string]string{
		"/proc/sys/net/ipv4/ip_local_port_range": "32768 60999", "/proc/sys/fs/file-nr": "1000 0 77777",
		"/proc/sys/fs/nr_open": "20001", "/proc/self/limits": limitsFile("1024", "30000", "9000"),
		"/proc/meminfo": "MemAvailable: 300000 kB\nSlab: 1 kB\n", "/proc/sys/kernel/pid_max": "32768",
		"/sys/fs/cgroup/memory/box/memory.limit_in_bytes": "99999999", "/proc/sys/net/netfilter/nf_conntrack_max": "6000",
	})
	for _, role := range Roles {
		d := million()
		d.Role, d.ThreadEach = role, true
		for _, r := range Judge(tight, d) {
			n := r.Holds[role]
			if n == 0 || n >= NoLimit {
				continue
			}
			d.Conns = n
			if v := rowOf(t, Judge(tight, d), r.Limit).Verdict; v == TooLow {
				t.Errorf("%s holds %d as %s, and that is too low", r.Limit, n, role)
			}
			d.Conns = n + 1
			if v := rowOf(t, Judge(tight, d), r.Limit).Verdict; v != TooLow {
				t.Errorf("%s holds %d as %s, and one more is %s", r.Limit, n, role, v)
			}
		}
	}
}

func TestLimitsThatOnlySlowStopNothing(t *testing.T) {
	for limit, file := range map[string][2]string{
		"queued data":      {"/proc/sys/net/ipv4/tcp_mem", "1 2 3"},
		"orphans":          {"/proc/sys/net/ipv4/tcp_max_orphans", "5"},
		"TIME_WAIT":        {"/proc/sys/net/ipv4/tcp_max_tw_buckets", "5"},
		"accept queue":     {"/proc/sys/net/core/somaxconn", "128"},
		"established hash": {"/proc/sys/net/ipv4/tcp_ehash_entries", "-262144"},
		"bind hash":        {"/proc/sys/net/ipv4/tcp_ehash_entries", "4096"},
		"process IDs":      {"/proc/sys/kernel/pid_max", "32768"}, // without a thread a connection
	} {
		rows := Judge(madeUp(t, map[string]string{file[0]: file[1]}), million())
		if r := rowOf(t, rows, limit); r.Verdict != Warns || r.Holds != nil || r.Fix == "" || !Fits(rows) {
			t.Errorf("%s: %+v", limit, r)
		}
	}
}

func TestQueuedDataStopsWhoCarriesSome(t *testing.T) {
	d := million()
	d.Conns, d.QueuedBytes = 400, Booked(32768, false)
	h := madeUp(t, map[string]string{"/proc/sys/net/ipv4/tcp_mem": "10 20 2000"})
	r := rowOf(t, Judge(h, d), "queued data")
	if r.Verdict != TooLow || r.Holds[kernel.RoleBoth] != 221 || r.Fix != "sysctl -w net.ipv4.tcp_mem='2703 3604 5406'" || r.Manual == "" ||
		strings.Contains(r.Consequence, "idle") {
		t.Errorf("%+v", r)
	}
	// Memory, the cgroup and the file table count the same connections.
	d.Promised = 100
	for limit, need := range map[string]uint64{"memory": 500 * (9000 + d.QueuedBytes) * 10 / 9, "open files (all)": 2*500 + 1000 + spareFiles,
		"memory cgroup": 500 * (9000 + d.QueuedBytes)} {
		if r := rowOf(t, Judge(h, d), limit); r.Need/10 != need/10 {
			t.Errorf("%s: %d, want %d", limit, r.Need, need)
		}
	}
}

// The measured figures are sk_rmem_alloc of the receiving ends of 1,000 connections on 6.18 (run --scenario unread --payload).
func TestWhatIsBookedIsMoreThanThePayload(t *testing.T) {
	for payload, measured := range map[int]uint64{1: 833, 1000: 1832, 4096: 4928, 16384: 17216, 32768: 34432} {
		if got := Booked(payload, false); got < measured || got > measured+2<<10 {
			t.Errorf("%d bytes: %d, measured %d", payload, got, measured)
		}
	}
	if got := Booked(14480, true); got < 10*4096 {
		t.Errorf("ten frames off a wire: %d", got)
	}
}

func TestWhatWasReadOnceIsCountedOnce(t *testing.T) {
	files := map[string]string{"/proc/sys/fs/file-nr": "312 0 4020312"}
	h := madeUp(t, files)
	d := million()
	d.Conns = 2_000_000
	before := Read(h)
	writeFile(t, filepath.Join(h.Root, "/proc/sys/fs/file-nr"), "10312 0 4020312") // 5,000 of them are open
	for range 2 {
		if r := rowOf(t, before.Judge(d), "open files (all)"); r.Verdict != OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestWhoBindsFirstHasAPortOnceForAllDestinations(t *testing.T) {
	d := Demand{Conns: 100, Role: kernel.RoleClient, Addresses: 1, Ports: 10}
	h := madeUp(t, map[string]string{"/proc/sys/net/ipv4/ip_local_port_range": "40000 40009"})
	rows := Judge(h, d)
	if r := rowOf(t, rows, "client ports"); r.Verdict != OK || r.Need != 10 || r.Holds[kernel.RoleClient] != 100 {
		t.Errorf("with the option: %+v", r)
	}
	if r := rowOf(t, rows, "ports bound first"); r.Verdict != Warns || r.Now != 10 || r.Need != 100 || !strings.Contains(r.Fix, "IP_BIND_ADDRESS_NO_PORT") ||
		!strings.HasSuffix(r.Fix, "--ips 10") {
		t.Errorf("without: %+v", r)
	}
	d.Ports, d.Conns = 1, 10
	if r := rowOf(t, Judge(h, d), "ports bound first"); r.Verdict != OK || r.Need != 0 {
		t.Errorf("to one port: %+v", r)
	}
}

func TestTheSynBacklogCountsOnlyWithoutSyncookies(t *testing.T) {
	low := map[string]string{"/proc/sys/net/ipv4/tcp_max_syn_backlog": "10"}
	if r := rowOf(t, Judge(madeUp(t, low), million()), "SYN backlog"); r.Verdict != OK || !strings.Contains(r.Note, "syncookies") {
		t.Errorf("with cookies: %+v", r)
	}
	low["/proc/sys/net/ipv4/tcp_syncookies"] = "0"
	if r := rowOf(t, Judge(madeUp(t, low), million()), "SYN backlog"); r.Verdict != Warns {
		t.Errorf("without cookies: %+v", r)
	}
}

func TestConntrackCountsOnlyInThePath(t *testing.T) {
	const most, entries, first = "/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/net/netfilter/nf_conntrack_count",
		"/proc/sys/net/ipv4/tcp_mem"
	for _, test := range []struct {
		files   map[string]string
		tracks  bool // what is sent
		verdict Verdict
		note    string
	}{
		{map[string]string{most: "10", entries: "0"}, false, OK, "not in the path: a datagram"},
		{map[string]string{most: "10", entries: "0"}, true, TooLow, "in the path: a datagram"},
		{map[string]string{most: "10", entries: "1"}, false, TooLow, "in the path: it has entries"},
		{map[string]string{most: missing, entries: missing}, false, OK, "not in the path: the kernel has not loaded it"},
		{map[string]string{most: "10", entries: "0", first: missing}, false, Unknown, "the host's table cannot be seen"},
		{map[string]string{most: missing, entries: missing, first: missing}, false, Unknown, "the host's table cannot be seen"},
		{map[string]string{most: "10", entries: "0", first: missing}, true, TooLow, "in the path"},
	} {
		h := madeUp(t, test.files)
		h.Datagram = func() error {
			if test.tracks {
				writeFile(t, h.Root+entries, "1")
			}
			return nil
		}
		if r := rowOf(t, Judge(h, million()), "conntrack"); r.Verdict != test.verdict || !strings.HasPrefix(r.Note, test.note) {
			t.Errorf("%+v: %+v", test, r)
		}
	}
	h := madeUp(t, map[string]string{most: "10", entries: "0"})
	h.Datagram = func() error { return errors.New("network is unreachable") }
	if r := rowOf(t, Judge(h, million()), "conntrack"); r.Verdict != OK || !strings.Contains(r.Note, "not known: network is unreachable") {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotBeReadIsUnknownAndSaysWhy(t *testing.T) {
	for limit, file := range map[string]string{
		"client ports": "/proc/sys/net/ipv4/ip_local_port_range", "ports bound first": "/proc/sys/net/ipv4/ip_local_port_range", "reserved ports": "/proc/sys/net/ipv4/ip_local_reserved_ports",
		"open files (all)": "/proc/sys/fs/file-nr", "nofile ceiling": "/proc/sys/fs/nr_open",
		"nofile (hard)": "/proc/self/limits", "epoll watches": "/proc/sys/fs/epoll/max_user_watches",
		"threads (all)": "/proc/sys/kernel/threads-max", "process IDs": "/proc/sys/kernel/pid_max",
		"mappings": "/proc/sys/vm/max_map_count", "memory": "/proc/meminfo", "queued data": "/proc/sys/net/ipv4/tcp_mem",
		"orphans": "/proc/sys/net/ipv4/tcp_max_orphans", "TIME_WAIT": "/proc/sys/net/ipv4/tcp_max_tw_buckets",
		"accept queue": "/proc/sys/net/core/somaxconn", "SYN backlog": "/proc/sys/net/ipv4/tcp_max_syn_backlog",
		"established hash": "/proc/sys/net/ipv4/tcp_ehash_entries", "neighbour table": "/proc/sys/net/ipv4/neigh/default/gc_thresh3",
	} {
		for _, text := range []string{missing, "", "nonsense", "1 2 3 4 5 x"} {
			if limit == "reserved ports" && text == "" {
				continue // none are reserved
			}
			rows := Judge(madeUp(t, map[string]string{file: text}), million())
			if r := rowOf(t, rows, limit); r.Verdict != Unknown || r.Note == "" || r.Holds != nil {
				t.Errorf("%s with %q in %s: %+v", limit, text, file, r)
			}
			if !Fits(rows) {
				t.Errorf("%s unknown: a million do not fit", limit)
			}
		}
	}
}

func TestTheSoftLimitIsThatOfOtherPrograms(t *testing.T) {
	h := madeUp(t, nil)
	h.SoftFiles = func() (uint64, error) { return 1017, nil }
	if r := rowOf(t, Judge(h, million()), "nofile (soft)"); r.Verdict != TooLow || r.Holds[kernel.RoleBoth] != 1000 || r.Fix != "ulimit -Sn 1000017" {
		t.Errorf("%+v", r)
	}
	h.SoftFiles = func() (uint64, error) { return 0, fmt.Errorf("no shell") }
	if r := rowOf(t, Judge(h, million()), "nofile (soft)"); r.Verdict != Unknown || r.Note != "no shell" {
		t.Errorf("%+v", r)
	}
}

func TestAHardLimitWithoutTheCapabilitySaysSo(t *testing.T) {
	files := map[string]string{"/proc/self/limits": limitsFile("10", "20", "99")}
	h := madeUp(t, files)
	if r := rowOf(t, Judge(h, million()), "nofile (hard)"); r.Note != "" || r.Manual == "" {
		t.Errorf("with it: %+v", r)
	}
	h.Capabilities = allBut(capability.CAP_SYS_RESOURCE)
	if r := rowOf(t, Judge(h, million()), "nofile (hard)"); !strings.Contains(r.Note, "CAP_SYS_RESOURCE") {
		t.Errorf("without: %+v", r)
	}
}

func TestBeyondWhatTheKernelTakesThereIsNoFix(t *testing.T) {
	d := million()
	d.Conns, d.ThreadEach = 5_000_000, true
	r := rowOf(t, Judge(madeUp(t, nil), d), "process IDs")
	if r.Verdict != TooLow || r.Fix != "" || !strings.Contains(r.Manual, "no more than 4194304") {
		t.Errorf("%+v", r)
	}
}

func TestVersion2CgroupsAreReadToo(t *testing.T) {
	const box = "/sys/fs/cgroup/box/"
	for _, mount := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/unified/"} {
		h := madeUp(t, map[string]string{"/proc/self/cgroup": "0::/box\n", mount + "cgroup.procs": "",
			mount + "box/memory.max": "10000000", mount + "box/memory.current": "1000000",
			mount + "box/pids.max": "50", mount + "box/pids.current": "5"})
		rows := Judge(h, million())
		if r := rowOf(t, rows, "memory cgroup"); r.Now != 10_000_000 || r.Used != 1_000_000 || r.Holds[kernel.RoleBoth] != 1000 ||
			r.Where != mount+"box/memory.max" {
			t.Errorf("below %s: %+v", box, r)
		}
		if r := rowOf(t, rows, "cgroup pids"); r.Now != 50 || r.Used != 5 {
			t.Errorf("below %s: %+v", box, r)
		}
	}
}

func TestTheTwoTightestLimitsAreNamed(t *testing.T) {
	h := madeUp(t, map[string]string{"/proc/sys/net/ipv4/ip_local_port_range": "40000 40009", "/proc/sys/fs/file-nr": "0 0 11000",
		"/proc/sys/fs/nr_open": "5000"})
	want := []Capacity{
		{kernel.RoleClient, 200, "client ports", "open files (all)", 1000},
		{kernel.RoleServer, 1000, "open files (all)", "nofile ceiling", 4983},
		{kernel.RoleBoth, 200, "client ports", "open files (all)", 500},
	}
	for i, got := range Capacities(Judge(h, million())) {
		if got != want[i] {
			t.Errorf("%+v, want %+v", got, want[i])
		}
	}
	if c := Capacities(nil)[0]; c.Conns != NoLimit || c.First != "" {
		t.Errorf("of nothing: %+v", c)
	}
}

func TestPortsAreCountedWithoutTheReservedOnes(t *testing.T) {
	for _, test := range []struct {
		list   string
		usable uint64
	}{{"", 1000}, {"10000", 999}, {"10000-10009", 990}, {"9990-10009,10500", 989}, {"10000,10000-10001\n", 998}, {"1-9999", 1000}} {
		h := madeUp(t, map[string]string{"/proc/sys/net/ipv4/ip_local_port_range": "10000 10999",
			"/proc/sys/net/ipv4/ip_local_reserved_ports": test.list})
		if r, err := readClientPorts(h); err != nil || r.Now != test.usable {
			t.Errorf("%q: %d ports, %v, want %d", test.list, r.Now, err, test.usable)
		}
	}
}

func TestTheRangeIsRaisedAsLittleAsPossible(t *testing.T) {
	for _, test := range []struct {
		low, high, floor int
		need             uint64
		value            string
		ok               bool
	}{
		{32768, 60999, 1024, 30_000, "32768 65535", true},
		{32768, 60999, 1024, 50_000, "15536 65535", true},
		{40000, 40009, 1024, 11, "40000 65535", true},
		{40001, 40009, 1024, 11, "40000 65535", true}, // ends of different parity
		{32768, 60999, 1024, 64_512, "1024 65535", true},
		{32768, 60999, 1024, 64_513, "1024 65535", false},
		{32768, 60999, 2000, 64_000, "2000 65535", false},
	} {
		p := portRange{low: test.low, high: test.high, floor: test.floor, reserved: make([]bool, maxPort+1)}
		if value, ok := p.raised(test.need); value != test.value || ok != test.ok {
			t.Errorf("%+v: %q %v", test, value, ok)
		}
	}
}

func TestEveryRowSaysWhereItIsAndWhatHappens(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range limits {
		if l.name == "" || l.where == "" || l.consequence == "" || l.read == nil || l.need == nil || seen[l.name] {
			t.Errorf("row %q lacks something, or is there twice", l.name)
		}
		seen[l.name] = true
		if l.sysctl == "" && l.command == nil && l.name != "reserved ports" {
			t.Errorf("%s: nothing says how to raise it", l.name)
		}
		if l.sysctl == "" && l.effect == stops && l.manual == "" {
			t.Errorf("%s: nothing says why --fix does not raise it", l.name)
		}
	}
}

// The running host's own files are understood.
func TestTheRunningHostIsReadWhole(t *testing.T) {
	for _, r := range Judge(Host{}, million()) {
		if r.Verdict == Unknown && !strings.Contains(r.Note, "this kernel, or this namespace, has no") &&
			!strings.Contains(r.Note, "before Linux 6.1") && !strings.Contains(r.Note, "the host's table cannot be seen") {
			t.Errorf("%s is unknown: %s", r.Limit, r.Note)
		}
	}
}

func TestLockdownAndCapabilities(t *testing.T) {
	if mode, err := Lockdown(madeUp(t, nil)); mode != "integrity" || err != nil {
		t.Errorf("lockdown %q, %v", mode, err)
	}
	if _, err := Lockdown(madeUp(t, map[string]string{"/sys/kernel/security/lockdown": "nonsense"})); err == nil {
		t.Error("nonsense is a mode")
	}
	mode, err := Lockdown(Host{})
	if _, mounted := os.Stat("/sys/kernel/security/lockdown"); err != nil && mounted == nil || err == nil && mode == "" {
		t.Errorf("on this host lockdown is %q, %v", mode, err)
	}
	h := madeUp(t, nil)
	// CAP_SYS_ADMIN, which includes CAP_BPF and CAP_PERFMON, and CAP_SYS_RESOURCE
	h.Capabilities = func(c capability.Cap) bool { return c == capability.CAP_SYS_ADMIN || c == capability.CAP_SYS_RESOURCE }
	for _, c := range Capabilities(h) {
		if want := c.Name != "CAP_NET_ADMIN" && c.Name != "CAP_SYSLOG"; c.Has != want || c.Optional != (c.Name == "CAP_SYS_RESOURCE") {
			t.Errorf("%+v", c)
		}
	}
}

// Go has raised the soft limit of this process; the one that counts is what its children get.
func TestTheSoftLimitIsAskedOfAChild(t *testing.T) {
	n, err := softFilesOfChildren()
	hard, errHard := processLimit(ownLimits, openFiles, true)(Host{})
	if err != nil || errHard != nil || n == 0 || n > hard.Now {
		t.Errorf("%d, %v of %d, %v", n, err, hard.Now, errHard)
	}
}
