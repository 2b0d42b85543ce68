package checkreport

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/connprof/connprof/internal/kernel"
)

func number(n uint64) *uint64 { return &n }

// sampleCheck has a row of each verdict.
func sampleCheck() *Document {
	return &Document{Schema: Schema, Kernel: "6.18", Conns: 1_000_000, Role: kernel.RoleBoth, ClientAddresses: 20, ServerPorts: 1,
		EndpointBytes: EndpointBytes{Client: 4237, Server: 4095, Source: "measured on kernel 6.18, connprof.json"},
		Limits: []Limit{
			{Name: "client ports", Where: "net.ipv4.ip_local_port_range", Unit: "count", Now: number(28_232), Need: 50_000,
				Verdict: "too low", Consequence: "connect: cannot assign requested address",
				Fix: "sysctl -w net.ipv4.ip_local_port_range='15536 65535'", Holds: map[kernel.Role]*uint64{kernel.RoleClient: number(564_640), kernel.RoleServer: nil}},
			{Name: "open files (all)", Where: "fs.file-max", Unit: "count", Used: 413, Need: 2_010_413, Verdict: "ok", BindsRun: true},
			{Name: "nofile (hard)", Where: "RLIMIT_NOFILE, ulimit -Hn", Unit: "count", Now: number(20_000), Need: 1_000_017,
				Verdict: "too low", Consequence: "too many open files", Fix: "ulimit", Manual: "it belongs to a process"},
			{Name: "memory cgroup", Where: "/sys/fs/cgroup/memory/a/very/long/path/to/some/container/memory.limit_in_bytes", Unit: "bytes",
				Now: number(1 << 28), Used: 1 << 20, Need: 9 << 30, Verdict: "too low", Consequence: "the cgroup's OOM killer", BindsRun: true,
				Fix: "echo 9663676416 > /sys/fs/cgroup/memory/a/very/long/path/to/some/container/memory.limit_in_bytes"},
			{Name: "queued data", Where: "net.ipv4.tcp_mem", Unit: "bytes", Verdict: "unknown", Note: "this kernel, or this namespace, has none"},
			{Name: "established hash", Where: "net.ipv4.tcp_ehash_entries", Unit: "count", Now: number(262_144), Need: 2_097_152,
				Verdict: "warns", Consequence: "each packet searches a longer chain", Fix: "boot with thash_entries=2097152"},
		},
		Capacity: []Capacity{
			{Role: kernel.RoleClient, Conns: number(19_984), First: "nofile (hard)", Next: "client ports", NextConns: number(564_640)},
			{Role: kernel.RoleServer, Conns: number(19_983), First: "nofile (hard)"},
			{Role: kernel.RoleBoth, Conns: number(19_983), First: "nofile (hard)"}},
		RunAddresses: 20, RunConns: number(1_200_000),
		Features: []Feature{{Name: "BTF", State: "ok", Detail: "/sys/kernel/btf/vmlinux"},
			{Name: "accept hook", State: "fallback", Detail: "tracepoint inet_sock_set_state (kprobe: CONFIG_KPROBES is not set; fentry: the kernel refused it: operation not permitted)",
				Consequence: "no process ID for accepted ends", Fix: "nothing has to be done"},
			{Name: "CAP_BPF", State: "missing", Detail: "to load", Consequence: "connprof run refuses to start", Fix: "sudo"},
			{Name: "CAP_PERFMON", State: "missing", Detail: "to attach", Consequence: "connprof run refuses to start", Fix: "sudo"}},
	}
}

func checkText(t *testing.T, width int, color bool) string {
	t.Helper()
	var b strings.Builder
	if err := WriteText(&b, sampleCheck(), width, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCheckKeepsToTheWidth(t *testing.T) {
	for width, limit := range map[int]int{0: 100, 100: 100, 80: 80, 200: 100, 40: 80} {
		for _, line := range strings.Split(checkText(t, width, false), "\n") {
			// A command is to be copied: it is not broken.
			if n := utf8.RuneCountInString(line); n > limit && !strings.HasPrefix(line, "    > ") {
				t.Errorf("width %d: %d characters: %s", width, n, line)
			}
		}
	}
}

func TestCheckSaysEverythingAtEachWidth(t *testing.T) {
	for _, width := range []int{80, 100} {
		text := strings.Join(strings.Fields(checkText(t, width, false)), " ")
		for _, want := range []string{
			"1,000,000 connections with both ends, from 20 client addresses to 1 server port", "client 4.14 KiB, server 4.00 KiB (measured",
			"28,232 50,000 too low*", "connect: cannot assign requested address", "> sysctl -w net.ipv4.ip_local_port_range='15536 65535'",
			"--fix leaves it: it belongs to a process", "256.0 MiB", "9.00 GiB too low ", "no limit", "413", "this kernel, or this namespace",
			"– – unknown", "2,097,152 warns*", "memory.limit_in_bytes",
			"This host can hold, as connections of an ordinary program, 19,984 as client, 19,983 as server and 19,983 with both ends.",
			"As client the first limit to bind is nofile (hard), the next client ports (564,640); as server and with both ends the first limit to bind is nofile (hard).",
			"* connprof run is not bound by it", "it can open 1,200,000 here", "fallback tracepoint inet_sock_set_state",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("width %d: it does not say %q:\n%s", width, want, text)
			}
		}
		if n := strings.Count(text, "refuses to start"); n != 1 {
			t.Errorf("width %d: what two rows agree in is said %d times", width, n)
		}
	}
}

func TestCheckHasColoursOnlyWhenAsked(t *testing.T) {
	if strings.Contains(checkText(t, 100, false), "\x1b") || !strings.Contains(checkText(t, 100, true), "\x1b[33mtoo low*") {
		t.Error("colours are wrong")
	}
}

func TestCheckDoesNotPassOnControlCharacters(t *testing.T) {
	c := sampleCheck()
	c.EndpointBytes.Source = "measured\x1b[2J"
	c.Limits[3].Where, c.Limits[3].Fix, c.Limits[3].Note = "/sys\x1b[2J", "echo \x1b[2J", "\x1b[2J"
	c.Features[0].Detail = "\x1b[2J"
	var b strings.Builder
	if err := WriteText(&b, c, 80, false); err != nil || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%v: %q", err, b.String())
	}
}

func TestWriteJSONTellsNoLimitFromZero(t *testing.T) {
	var b strings.Builder
	if err := WriteJSON(&b, sampleCheck()); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Schema string
		Limits []struct {
			Name string
			Now  *uint64
			Fix  string
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != Schema || *doc.Limits[0].Now != 28_232 || doc.Limits[1].Now != nil ||
		!strings.Contains(b.String(), "echo 9663676416 > /sys") {
		t.Errorf("%s", b.String())
	}
}

func TestCheckReportsAWriterThatFails(t *testing.T) {
	if WriteText(brokenWriter{}, sampleCheck(), 80, false) == nil || WriteJSON(brokenWriter{}, sampleCheck()) == nil {
		t.Error("the error is lost")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }
