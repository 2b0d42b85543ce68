// Package leaks has connprof record watch programs that are known to the last connection: programs with a leak in several
// languages, proxies, connections that do not come up, and a churn of thousands a second.
package leaks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// connprof is the built program, and folder where it is and what else is built.
var connprof, folder string

// Exit codes, as the contract has them.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// limit ends what hangs. No claim about time rests on it.
const limit = 5 * time.Minute

// givenProgram names a variable with the connprof to test, where there is no compiler: in a virtual machine.
const givenProgram = "CONNPROF_TEST_PROGRAM"

func inMachine() bool { return os.Getenv(givenProgram) != "" }

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "connprof record needs root: run its tests with sudo")
		return 1
	}
	var err error
	if folder, err = os.MkdirTemp("", "connprof-leaks-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if connprof = os.Getenv(givenProgram); inMachine() {
		return m.Run()
	}
	connprof = filepath.Join(folder, "connprof")
	if err := goBuild(connprof, "../../cmd/connprof"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// goBuild compiles a command of the project as the Makefile does.
func goBuild(to, from string, flags ...string) error {
	return build(exec.Command("go", append(append([]string{"build", "-o", to}, flags...), from)...))
}

func build(cmd *exec.Cmd) error {
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w (make record-tools installs what it needs)\n%s", cmd.Args, err, out)
	}
	return nil
}
