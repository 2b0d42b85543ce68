package cli

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/test/check"
)

const containerConns = 200

// inPIDNamespace is a child that is the first process of a pid namespace, with or without a /proc of that.
func inPIDNamespace(t testing.TB, confinement string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := confined(t, confinement, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	return cmd
}

// The kernel's own process numbers are not those that connprof sees in a container.
func TestARunInAPIDNamespaceKnowsItsProcesses(t *testing.T) {
	cmd := inPIDNamespace(t, "proc=/proc", "run", "--conns", "200", "--endpoints", "ep.csv", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/rec.json")
	checkCounts(t, m, containerConns)
	holds(t, check.Compared(m, containerConns, check.Roles...))
	list := readEndpointsAt(t, cmd.Dir+"/ep.csv")
	pids := map[string]bool{}
	for _, row := range list.rows {
		role := list.field(row, "role")
		if role == kernel.RoleListener.String() {
			role = kernel.RoleServer.String()
		}
		if want, got := "connprof-"+role, list.field(row, "comm"); got != want {
			t.Fatalf("pid %s is %q, want %q", list.field(row, "pid"), got, want)
		}
		pids[list.field(row, "pid")] = true
	}
	if len(pids) != 2 {
		t.Errorf("the endpoints are of processes %v, want two", pids)
	}
	for _, row := range m.Endpoints {
		if standing := uint64(m.Reconcile.StandingBytes); row.Role == kernel.RoleListener && (standing < row.PageBytes || standing > 2*row.PageBytes) {
			t.Errorf("%d bytes were there before the growth, and the listener has %d", standing, row.PageBytes)
		}
	}
}

// Its own numbers are strangers' in the host's /proc.
func TestWithTheHostsProcNoProcessIsTakenForAStranger(t *testing.T) {
	cmd := inPIDNamespace(t, "", "run", "--conns", "200", "--endpoints", "ep.csv", "-o", "rec.json")
	finish(t, cmd).exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/rec.json")
	says(t, "the notes", strings.Join(m.Notes, "\n"), "/proc", "another pid namespace")
	list := readEndpointsAt(t, cmd.Dir+"/ep.csv")
	for _, row := range list.rows {
		if comm := list.field(row, "comm"); comm != "" {
			t.Fatalf("pid %s is %q", list.field(row, "pid"), comm)
		}
	}
}

func TestARunGoesOnWhereSysctlsAreReadOnly(t *testing.T) {
	cmd := confined(t, "readonly=/proc/sys", "run", "--conns", "200", "-o", "rec.json")
	r := finish(t, cmd).exits(t, exitDone)
	m := readOne(t, cmd.Dir+"/rec.json")
	checkCounts(t, m, containerConns)
	says(t, "the report", strings.Join(strings.Fields(r.stdout), " "), "/proc/sys is read-only", "net.core.somaxconn")
}
