package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func TestBadInputIsRefusedInOneClearLine(t *testing.T) {
	directory := t.TempDir()
	for _, c := range []struct {
		line string
		code int
		says []string // what failed, why, what to do
	}{
		{"run --ips 0", exitUsage, []string{"--ips 0", "1 to 254"}},
		{"run --ips 300", exitUsage, []string{"--ips 300", "1 to 254"}},
		{"run --ips -1", exitUsage, []string{"--ips -1", "1 to 254"}},
		{"run --ips x", exitUsage, []string{"--ips", `"x"`, "whole number", "--help"}},
		{"run --ips 99999999999999999999", exitUsage, []string{"--ips", "99999999999999999999", "--help"}},
		{"run --ips", exitUsage, []string{"--ips", "--help"}},
		{"run --ports 0", exitUsage, []string{"--ports 0", "1 to 1000"}},
		{"run --ports 70000", exitUsage, []string{"--ports 70000", "1 to 1000"}},
		{"run --conns -5", exitUsage, []string{"--conns", `"-5"`, "at least 1"}},
		{"run --conns 10x", exitUsage, []string{"--conns", `"10x"`, "20k"}},
		{"run --conns 0", exitUsage, []string{"--conns", `"0"`, "at least 1"}},
		{"run --conns 1e3", exitUsage, []string{"--conns", `"1e3"`, "20k"}},
		{"run --conns 0.5", exitUsage, []string{"--conns", `"0.5"`, "whole number"}},
		{"run --conns NaN", exitUsage, []string{"--conns", `"NaN"`, "whole number"}},
		{"run --conns 9999999M", exitUsage, []string{"--conns", `"9999999M"`, "at most"}},
		{"run --conns 200k --ips 1", exitUsage, []string{"--conns 200000", "four-tuples", "raise --ips or --ports"}},
		{"run --rate 0", exitUsage, []string{"--rate", `"0"`, "at least 1"}},
		{"run --rate fast", exitUsage, []string{"--rate", `"fast"`, "whole number"}},
		{"run --hold -1s", exitUsage, []string{"--hold -1s"}},
		{"run --hold 5", exitUsage, []string{"--hold", `"5"`, "--help"}},
		{"run --hooks nonsense", exitUsage, []string{"--hooks", `"nonsense"`, "auto, kprobe, fentry, tracepoint"}},
		{"run --scenario nope", exitUsage, []string{"--scenario", `"nope"`, "idle"}},
		{"run --allow-memory 95", exitUsage, []string{"--allow-memory 95", "1 to 90", "the host needs the rest"}},
		{"run --allow-memory 0", exitUsage, []string{"--allow-memory 0", "1 to 90"}},
		{"run --budget client", exitUsage, []string{"--budget", `"client"`, "client=4400"}},
		{"run --payload 600M", exitUsage, []string{"--payload 600000000", "1 to 268435456"}},
		{"run --scenario unread --payload 64k --rmem 131072", exitUsage, []string{"--payload 64000", "131072 bytes", "--rmem 256000", "--payload 32768"}},
		{"run --rmem 100", exitUsage, []string{"--rmem 100", "4096 to 1073741824"}},
		{"run --wmem 2000M", exitUsage, []string{"--wmem 2000000000", "4096 to 1073741824"}},
		{"run --rmem big", exitUsage, []string{"--rmem", `"big"`, "whole number"}},
		{"run --target 192.0.2.7:8090 --rmem 64k --token x", exitUsage, []string{"--rmem", "tcp_rmem on both machines"}},
		{"run --target 192.0.2.7:8090 --wmem 64k --token x", exitUsage, []string{"--wmem", "tcp_wmem on both machines"}},
		{"run --scenario time-wait --hold 65s", exitUsage, []string{"--hold 1m5s", "time-wait", "after 1m0s", "at most 50s"}},
		{"run --scenario orphaned --hold 51s", exitUsage, []string{"--hold 51s", "orphaned", "at most 50s"}},
		{"run --after-close=5s,1s", exitUsage, []string{"--after-close 5s,1s", "each later than the one before"}},
		{"run --after-close=2h", exitUsage, []string{"--after-close 2h0m0s", "1h0m0s"}},
		{"run --after-close=x", exitUsage, []string{"--after-close", `"x"`, "--help"}},
		{"run --after-close --scenario time-wait", exitUsage, []string{"--after-close", "time-wait", "such as idle"}},
		{"run --after-close --scenario listen", exitUsage, []string{"--after-close", "listen", "such as idle"}},
		{"run --after-close --scenario all", exitUsage, []string{"--after-close", "leave out --scenario all"}},
		{"run --after-close --no-profile", exitUsage, []string{"--after-close", "leave out --no-profile"}},
		{"run --after-close --threads-per-connection", exitUsage, []string{"--after-close", "--threads-per-connection"}},
		{"run --after-close --target 10.0.0.1:8090 --token 0123456789abcdef", exitUsage, []string{"--after-close", "leave out --target"}},
		{"run --conntrack --no-profile", exitUsage, []string{"--conntrack", "leave out --no-profile"}},
		{"run --conntrack --target 10.0.0.1:8090 --token 0123456789abcdef", exitUsage, []string{"--conntrack", "leave out --target"}},
		{"run --cycles 1", exitUsage, []string{"--cycles 1", "2 to 1000", "the first"}},
		{"run --cycles -3", exitUsage, []string{"--cycles -3", "2 to 1000"}},
		{"run --cycles 5 --after-close", exitUsage, []string{"--cycles", "leave out --after-close"}},
		{"run --cycles 5 --scenario orphaned", exitUsage, []string{"--cycles", "orphaned", "such as idle"}},
		{"run --cycles 5 --no-profile", exitUsage, []string{"--cycles", "leave out --no-profile"}},
		{"run --cycles 5 --target 10.0.0.1:8090 --token 0123456789abcdef", exitUsage, []string{"--cycles", "leave out --target"}},
		{"run --target 192.0.2.7:8090 --ipv6 --token x", exitUsage, []string{"192.0.2.7:8090", "IPv4", "--ipv6"}},
		{"serve --listen [fe80::1%eth0]:8090", exitUsage, []string{"--listen", "link-local"}},
		{"netup --dev eth0 --cidr 192.0.2.7/24,192.0.2.9/24 --ips 3", exitUsage, []string{"--ips", "leave it out"}},
		{"netup --dev eth0 --cidr 192.0.2.7/24,192.0.2.7/24", exitUsage, []string{"192.0.2.7", "twice"}},
		{"netup --dev eth0", exitUsage, []string{"--cidr", "--from"}},
		{"run --budget client=-1", exitUsage, []string{"--budget", `"client=-1"`, "client=4400"}},
		{"run --budget router=5", exitUsage, []string{"--budget", "client, server and listener"}},
		{"run --no-profile --html x.html", exitUsage, []string{"--no-profile", "leave out --html"}},
		{"run --no-profile --endpoints x.csv", exitUsage, []string{"--no-profile", "--endpoints"}},
		{"run --no-profile --budget client=5", exitUsage, []string{"--no-profile", "--budget"}},
		{"run --output=", exitUsage, []string{"--output", "file name"}},
		{"run --threads-per-connection --scenario unread", exitUsage, []string{"--threads-per-connection", "idle"}},
		{"run --token 0123456789abcdef", exitUsage, []string{"--token", "--target"}},
		{"run --target 10.0.0.1:8090", exitUsage, []string{"--target needs --token", "connprof serve"}},
		{"run --target 10.0.0.1:8090 --token short", exitUsage, []string{"--token", "start connprof serve without one"}},
		{"run --target 10.0.0.1 --token 0123456789abcdef", exitUsage, []string{`--target "10.0.0.1"`, "HOST:PORT"}},
		{"run --target :8090 --token 0123456789abcdef", exitUsage, []string{`--target ":8090"`, "HOST:PORT"}},
		{"run --target a:1 --token 0123456789abcdef --scenario listen", exitUsage, []string{"--scenario listen", "half-closed"}},
		{"run --target a:1 --token 0123456789abcdef --scenario all", exitUsage, []string{"--scenario all", "half-closed"}},
		{"run --target a:1 --token 0123456789abcdef --threads-per-connection", exitUsage, []string{"--threads-per-connection"}},
		{"run --target a:1 --token 0123456789abcdef --journal=", exitUsage, []string{"--journal", "file name"}},
		{"serve --ports 0", exitUsage, []string{"--ports 0", "1 to 1000"}},
		{"serve --listen 8090", exitUsage, []string{`--listen "8090"`, "ADDRESS:PORT"}},
		{"serve --listen :0", exitUsage, []string{`--listen ":0"`, "1 to 65535"}},
		{"serve --listen router:8090", exitUsage, []string{`--listen "router:8090"`, "an address of this host"}},
		{"serve --token short", exitUsage, []string{"--token", "start connprof serve without one"}},
		{"serve --hooks x", exitUsage, []string{"--hooks", "kprobe"}},
		{"serve --allow-memory 91", exitUsage, []string{"--allow-memory 91", "1 to 90"}},
		{"serve --conns 0", exitUsage, []string{"--conns", "at least 1"}},
		{"serve -o -", exitUsage, []string{"--output -", "file name"}},
		{"serve --no-profile -o x", exitUsage, []string{"--no-profile", "--output"}},
		{"serve extra", exitUsage, []string{`"extra"`, "--help"}},
		{"serve --listen :65530", exitFailed, []string{"20 data ports do not fit", "--ports"}},
		{"serve --listen 192.0.2.1:8090", exitFailed, []string{"listen on 192.0.2.1:8090", "--listen"}},
		{"run --no-such-flag", exitUsage, []string{"--no-such-flag", "connprof run --help"}},
		{"run 20", exitUsage, []string{`"20"`, "connprof run --help"}},
		{"--no-such-flag", exitUsage, []string{"--no-such-flag", "connprof --help"}},
		{"frobnicate", exitUsage, []string{`"frobnicate"`, "connprof --help"}},
		{"report", exitUsage, []string{"1 arg", "connprof report --help"}},
		{"report a b", exitUsage, []string{"1 arg", "connprof report --help"}},
		{"report --no-such-flag x", exitUsage, []string{"--no-such-flag", "connprof report --help"}},
		{"diff a", exitUsage, []string{"2 arg", "connprof diff --help"}},
		{"version 2", exitUsage, []string{`"2"`, "connprof version --help"}},
		{"completion bash extra", exitUsage, []string{`"extra"`, "--help"}},
		{"completion tcsh", exitUsage, []string{`"tcsh"`, "--help"}},
		{"run -o /no/such/place/x.json", exitFailed, []string{"/no/such/place/x.json", "no directory", "make it first"}},
		{"run --html /no/such/place/x.html", exitFailed, []string{"/no/such/place/x.html", "no directory", "make it first"}},
		{"run --endpoints /no/such/place/x", exitFailed, []string{"/no/such/place/x", "no directory", "make it first"}},
		{"run -o " + directory, exitFailed, []string{directory, "is a directory", "file name"}},
		{"run -o " + program + "/x.json", exitFailed, []string{"not a directory"}},
		{"run --conns 100M --ips 254 --ports 1000", exitFailed, []string{"100000000 connections", "memory", "lower --conns"}},
		{"run --allow-memory 1 --conns 10M --ports 20", exitFailed, []string{"memory", "--allow-memory (now 1 %"}},
	} {
		t.Run(c.line, func(t *testing.T) {
			args := strings.Fields(c.line)
			if args[0] == "run" { // what is not refused by mistake is then at least a small run
				args = append([]string{"run", "--conns", "1k"}, args[1:]...)
			}
			cmd := command(t, args...)
			finish(t, cmd).refuses(t, c.code, c.says...)
			if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
				t.Errorf("files were left: %v %v", left, err)
			}
		})
	}
}

func TestReportToAPlaceThatCannotBeWrittenSaysSo(t *testing.T) {
	recording, directory := mainJob(t).path("rec.json"), t.TempDir()
	connprof(t, "report", recording, "--html", "/no/such/place/x").refuses(t, exitFailed, "no directory", "make it first")
	connprof(t, "report", recording, "--pprof", directory).refuses(t, exitFailed, "is a directory", "file name")
	finish(t, asNobody(t, "report", recording, "--csv", mainJob(t).path("x.csv"))).refuses(t, exitFailed, "not writable")
}

func TestAForcedRungIsTakenOrItsAbsenceExplained(t *testing.T) {
	for _, c := range []struct{ kind, option string }{{"kprobe", "CONFIG_KPROBES"}, {"fentry", ""}, {"tracepoint", ""}} {
		t.Run(c.kind, func(t *testing.T) {
			cmd := command(t, "run", "--ips", "2", "--conns", "500", "--hooks", c.kind, "-o", "rec.json")
			r := finish(t, cmd)
			value, known := kernel.ConfigOption(c.option)
			lacks := c.option != "" && known && value == "n"
			switch {
			case lacks:
				r.refuses(t, exitFailed, c.kind, c.option, "leave out --hooks "+c.kind)
			case r.code != exitDone && c.kind == "fentry": // some kernels refuse it to everybody
				r.refuses(t, exitFailed, c.kind, "leave out --hooks fentry")
			default:
				r.exits(t, exitDone)
				rec := readOne(t, cmd.Dir+"/rec.json")
				checkCounts(t, rec, 500)
				for _, h := range rec.Hooks[:2] {
					if !strings.HasSuffix(string(h.Kind), c.kind) && !strings.HasPrefix(string(h.Kind), strings.TrimSuffix(c.kind, "probe")) {
						t.Errorf("--hooks %s gave %+v", c.kind, h)
					}
				}
			}
		})
	}
}

func TestHelpVersionAndCompletion(t *testing.T) {
	says(t, "version", connprof(t, "version").exits(t, exitDone).stdout, "connprof ")
	says(t, "--version", connprof(t, "--version").exits(t, exitDone).stdout, "connprof ")
	for _, line := range []string{"help", "--help", ""} {
		says(t, "help", connprof(t, strings.Fields(line)...).exits(t, exitDone).stdout, "run", "report", "diff", "version")
	}
	for _, line := range []string{"help run", "run --help", "run -h"} {
		says(t, line, connprof(t, strings.Fields(line)...).exits(t, exitDone).stdout, "--ips", "--ports", "--conns",
			"--scenario", "--hold", "--rate", "--output", "--html", "--no-profile", "--hooks", "--ipv6", "--allow-memory",
			"--threads-per-connection", "--target", "--token", "--journal", "--budget", "--json", "--endpoints", "--no-color")
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		says(t, shell, connprof(t, "completion", shell).exits(t, exitDone).stdout, "connprof")
	}
}
