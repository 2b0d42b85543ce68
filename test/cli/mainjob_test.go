package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// job is the main job done once, for all tests that look at what it leaves.
type job struct {
	result
	dir       string
	recording *recording.Machine
}

const (
	jobConns     = 20_000
	jobAddresses = 20
)

var theJob *job

func (j *job) path(name string) string { return filepath.Join(j.dir, name) }

// mainJob does the main job at its first call.
func mainJob(t *testing.T) *job {
	t.Helper()
	if theJob != nil {
		return theJob
	}
	dir, err := os.MkdirTemp("", "connprof-job-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	j := &job{dir: dir}
	defer func() {
		if theJob == nil {
			os.RemoveAll(dir)
		}
	}()
	cmd := command(t, "run", "--ips", strconv.Itoa(jobAddresses), "--conns", strconv.Itoa(jobConns), "-o", "rec.json", "--html",
		"page.html", "--endpoints", "ep.csv")
	cmd.Dir = dir
	j.result = finish(t, cmd).exits(t, exitDone)
	j.recording = readOne(t, j.path("rec.json"))
	t.Logf("%d probes skipped by the kernel", j.recording.Losses.RecursionMisses)
	theJob = j
	return j
}

func removeMainJob() {
	if theJob != nil {
		os.RemoveAll(theJob.dir)
	}
}

func TestMainJobAccountsForEveryConnection(t *testing.T) {
	m := mainJob(t).recording
	holds(t, check.Idle(m, jobAddresses, jobConns), check.Listeners(m, 1))
	if m.Cost.ProfilerRSSBytes == 0 || m.Cost.BPFMapBytes == 0 || m.Cost.Events == 0 {
		t.Errorf("the profiler's own cost is missing: %+v", m.Cost)
	}
	if m.Interrupted != "" || m.Host.Kernel == "" || len(m.Load.Timeline) == 0 {
		t.Errorf("interrupted %q, host %+v, %d points of the timeline", m.Interrupted, m.Host, len(m.Load.Timeline))
	}
	if rec := m.Reconcile; len(rec.Caches) == 0 || rec.UnexplainedRatio != rec.Ratio() {
		t.Errorf("the account is not held against the kernel's growth: %+v", rec)
	}
}

func TestMainJobAttachesEveryHookAndSaysWhichRung(t *testing.T) {
	j := mainJob(t)
	holds(t, check.Hooks(j.recording), check.Hits(j.recording, kernel.HookConnect, jobConns),
		check.Hits(j.recording, kernel.HookAccept, jobConns))
	for _, h := range j.recording.Hooks {
		says(t, "stderr", j.stderr, fmt.Sprintf("%s: %s %s", h.Name, h.Kind, h.Function))
	}
}

func TestMainJobCountsEachObjectUnderItsOwnType(t *testing.T) {
	m := mainJob(t).recording
	holds(t, check.Caches(m))
	for role, atMost := range map[kernel.Role]int{kernel.RoleClient: jobConns + jobConns/jobAddresses, kernel.RoleServer: 2} {
		_, counts := check.Objects(m, role, kernel.StateEstablished.String())
		// SLUB keeps these in the caches of epitem and eppoll_entry: none of those may be booked as one of these.
		if buckets := counts["inet_bind_bucket"] + counts["inet_bind2_bucket"]; buckets > atMost {
			t.Errorf("%d bind buckets of %s endpoints, want at most %d", buckets, role, atMost)
		}
		if counts["anon_vma_chain"] != 0 || counts["eventpoll_epi"] != 0 {
			t.Errorf("cache names among the types: %v", counts)
		}
	}
}

func TestMainJobsStacksSumToTheAccount(t *testing.T) {
	holds(t, check.Stacks(mainJob(t).recording))
}

func TestMainJobPrintsTheAccount(t *testing.T) {
	j := mainJob(t)
	says(t, "stdout", j.stdout, "One connection costs", "20,000 of 20,000 established", "Hooks", "Client endpoints",
		"Server endpoints", "tcp_sock", "sock_inode_cache", "eppoll_entry", "unexplained", "Losses", "Cost of the profiler")
	says(t, "stderr", j.stderr, "20000 of 20000 up")
	if strings.Contains(j.stdout+j.stderr, "\x1b[") {
		t.Error("there are colours, and no terminal")
	}
}

func TestMainJobsPageLoadsNothingFromOutside(t *testing.T) {
	checkPage(t, readFile(t, mainJob(t).path("page.html")))
}

func checkPage(t *testing.T, page []byte) {
	t.Helper()
	outside := regexp.MustCompile(`(?i)(src|href|action)\s*=\s*["']?\s*(https?:)?//|url\(\s*["']?(https?:)?//|@import`)
	if hit := outside.Find(page); hit != nil {
		t.Errorf("the page refers to the outside: %q", hit)
	}
	if len(page) >= 1<<20 {
		t.Errorf("the page has %d bytes, want less than 1 MiB", len(page))
	}
	says(t, "the page", string(page), "<!doctype html>", "tcp_sock", "20,000", "eppoll_entry", "</html>")
}
