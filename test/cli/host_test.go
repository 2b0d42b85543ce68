package cli

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// counted runs a child to its end and checks that all n connections are up and accounted for.
func counted(t *testing.T, cmd *exec.Cmd, n int) *recording.Machine {
	t.Helper()
	finish(t, cmd).exits(t, exitDone)
	rec := readOne(t, cmd.Dir+"/connprof.json")
	checkCounts(t, rec, n)
	return rec
}

func TestWithoutRootARunSaysThatItNeedsIt(t *testing.T) {
	finish(t, asNobody(t, "run", "--conns", "1k")).refuses(t, exitFailed, "root", "sudo")
}

func TestAMissingCapabilityIsNamed(t *testing.T) {
	const sysAdmin, netAdmin, bpf, perfmon, syslog = "capability=21", "capability=12", "capability=39", "capability=38",
		"capability=34"
	for _, c := range []struct {
		dropped []string
		named   []string
	}{
		{[]string{sysAdmin}, []string{"CAP_SYS_ADMIN"}},
		{[]string{netAdmin}, []string{"CAP_NET_ADMIN"}},
		{[]string{syslog}, []string{"CAP_SYSLOG"}}, // which CAP_SYS_ADMIN does not include (kallsyms_for_cred)
		{[]string{sysAdmin, bpf}, []string{"CAP_SYS_ADMIN", "CAP_BPF"}},
		{[]string{sysAdmin, bpf, perfmon, syslog, netAdmin},
			[]string{"CAP_SYS_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG", "CAP_NET_ADMIN"}},
	} {
		t.Run(strings.Join(c.named, " "), func(t *testing.T) {
			r := finish(t, confined(t, strings.Join(c.dropped, " "), "run", "--conns", "1k"))
			r.refuses(t, exitFailed, c.named...)
			for _, name := range []string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG"} {
				if !slices.Contains(c.named, name) && strings.Contains(r.lastLine(), name+" (") {
					t.Errorf("%s is there, and called missing: %s", name, r.lastLine())
				}
			}
		})
	}
	t.Run("CAP_BPF and CAP_PERFMON within CAP_SYS_ADMIN", func(t *testing.T) {
		counted(t, confined(t, bpf+" "+perfmon, "run", "--conns", "1k"), 1000)
	})
}

func TestAFileLimitDoesNotLimitConnections(t *testing.T) {
	for _, limit := range []string{"files=1024", "files=256"} {
		t.Run(limit, func(t *testing.T) { counted(t, confined(t, limit, "run", "--conns", "5k"), 5000) })
	}
}

func TestAFileLimitTooLowForAnythingIsExplained(t *testing.T) {
	finish(t, confined(t, "files=100", "run", "--conns", "5k")).refuses(t, exitFailed, "RLIMIT_NOFILE is 100", "ulimit -n")
}

func TestAKernelWithoutTypeInformationIsExplained(t *testing.T) {
	finish(t, confined(t, "hide=/sys/kernel/btf", "run", "--conns", "1k")).refuses(t, exitFailed, "BTF",
		"/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF")
	// A run without the profiler needs none.
	finish(t, confined(t, "hide=/sys/kernel/btf", "run", "--conns", "1k", "--no-profile")).exits(t, exitDone)
}

func TestTheAccountWorksWithoutSysKernelSlab(t *testing.T) {
	rec := counted(t, confined(t, "hide=/sys/kernel/slab", "run", "--conns", "5k"), 5000)
	holds(t, check.End(rec, kernel.RoleClient, 5000), check.End(rec, kernel.RoleServer, 5000), check.Caches(rec))
}

func TestBudgets(t *testing.T) {
	for _, c := range []struct {
		budgets []string
		code    int
		says    []string
	}{
		{[]string{"client=1"}, exitBudget, []string{"a client endpoint in ESTABLISHED costs ", "budget of 1"}},
		{[]string{"client=100000", "server=1.5"}, exitBudget, []string{"a server endpoint", "budget of 1.5"}},
		{[]string{"client=100000", "server=100000", "listener=100000"}, exitDone, nil},
	} {
		t.Run(strings.Join(c.budgets, " "), func(t *testing.T) {
			cmd := command(t, "run", "--conns", "1k")
			for _, b := range c.budgets {
				cmd.Args = append(cmd.Args, "--budget", b)
			}
			r := finish(t, cmd).exits(t, c.code)
			if c.code != exitDone {
				r.complains(t, c.code, c.says...)
			}
			says(t, "stdout", r.stdout, "Client endpoints")
			checkCounts(t, readOne(t, cmd.Dir+"/connprof.json"), 1000)
		})
	}
}
