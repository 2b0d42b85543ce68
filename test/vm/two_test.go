//go:build vm

package vm

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/remote/peer"
	"github.com/connprof/connprof/test/check"
	"github.com/connprof/connprof/test/vm/wire"
)

// Two virtual machines with a cable between them.
const (
	twoConns   = 6000 // more than what rests as the first batch
	twoServer  = "192.0.2.1"
	twoClient  = "192.0.2.2"
	twoAliases = "192.0.2.100"
	// twoTimeout is for one program, and how long one end waits for another that never comes.
	twoTimeout = 4 * time.Minute
)

// twoToken is what both machines know before either has started.
var twoToken = peer.NewToken()

// scheme is one of the two ways to hold many connections.
type scheme struct {
	name       string
	ips, ports int
	control    int // port of connprof serve
}

var schemes = []scheme{
	{"many addresses", 20, 1, 8090},
	{"many ports", 1, 20, 9090},
}

func (s scheme) file(end string) string { return fmt.Sprintf("%s.%d.json", end, s.ips) }

// TestTwoMachines runs connprof serve under the last kernel of KERNEL and connprof run --target under the first one.
func TestTwoMachines(t *testing.T) {
	needQemu(t)
	versions := strings.Fields(os.Getenv("KERNEL"))
	if len(versions) == 0 {
		versions = strings.Fields(defaultKernels)
	}
	connprof := buildCommand(t, t.TempDir(), "./cmd/connprof")
	near, far := versions[0], versions[len(versions)-1]
	nearResult, farResult := bootTwo(t, near, far, connprof)
	commands := slices.Concat(nearResult.Commands, farResult.Commands)
	slices.SortStableFunc(commands, byCause)
	for _, c := range commands {
		checkEnd(t, c)
	}
	for _, s := range schemes {
		t.Run(s.name, func(t *testing.T) {
			client := readRecording(t, nearResult.Files, s.file("client"))
			server := readRecording(t, farResult.Files, s.file("server"))
			if err := checkTwo(client, server, s); err != nil {
				t.Errorf("the recording:\n%v", err)
			}
		})
	}
}

// bootTwo boots both machines at the same time, the listening end of the cable first.
func bootTwo(t *testing.T, near, far, connprof string) (nearResult, farResult *Result) {
	t.Helper()
	folder, err := os.MkdirTemp("", "cable-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "s")
	files := map[string]string{"/connprof": connprof}
	var both sync.WaitGroup
	both.Go(func() {
		farResult = bootKernel(t, far, "server."+far, Config{Files: files, Commands: serving(),
			Cable: &Cable{Socket: socket, Listen: true, Address: twoServer + "/24"}})
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Error("the listening end of the cable is not there")
			break
		}
	}
	both.Go(func() {
		nearResult = bootKernel(t, near, "client."+near, Config{Files: files, Commands: running(),
			Cable: &Cable{Socket: socket, Address: twoClient + "/24"}})
	})
	both.Wait()
	if nearResult == nil || farResult == nil {
		t.FailNow()
	}
	return nearResult, farResult
}

func serving() (commands []wire.Command) {
	for _, s := range schemes {
		commands = append(commands, twoCommand("serve", "--once", "--listen", fmt.Sprintf(":%d", s.control), "--token", twoToken,
			"-o", path.Join(wire.OutDir, s.file("server"))))
	}
	return commands
}

func running() []wire.Command {
	commands := []wire.Command{twoCommand("netup", "--dev", "eth0", "--cidr", twoAliases+"/24", "--ips", "20")}
	for _, s := range schemes {
		target := fmt.Sprintf("%s:%d", twoServer, s.control)
		c := twoCommand("run", "--target", target, "--token", twoToken, "--ips", fmt.Sprint(s.ips), "--ports", fmt.Sprint(s.ports),
			"--conns", fmt.Sprint(twoConns), "-o", path.Join(wire.OutDir, s.file("client")))
		c.Await = target
		commands = append(commands, c)
	}
	return append(commands, twoCommand("netdown"))
}

func twoCommand(args ...string) wire.Command {
	return wire.Command{Argv: append([]string{"/connprof"}, args...), TimeoutSeconds: twoTimeout.Seconds()}
}

// checkTwo holds the joint recording against what must be so, each machine's part by itself, and the server's against the
// one that the server has kept.
func checkTwo(joint, kept *recording.Recording, s scheme) error {
	client, server, err := check.Two(joint)
	if err != nil {
		return err
	}
	own, err := check.One(kept)
	if err != nil {
		return fmt.Errorf("what the server has kept: %w", err)
	}
	rung := rungOf[kernel.KindAuto]
	errs := []error{check.IdleBetween(joint, twoConns), check.TwoKernels(joint), check.Spread(client, s.ips, twoConns),
		check.Rung(client, kernel.HookConnect, rung), check.Hits(client, kernel.HookConnect, twoConns),
		check.Rung(server, kernel.HookAccept, rung), check.Hits(server, kernel.HookAccept, twoConns)}
	for _, m := range joint.Machines {
		if err := check.Growth(m, mostUnexplained); err != nil {
			errs = append(errs, fmt.Errorf("the %s's part: %w", m.End(), err))
		}
	}
	if own.Load.Established != twoConns || own.Host.Kernel != server.Host.Kernel || own.Load.ServerPorts != s.ports {
		errs = append(errs, fmt.Errorf("the server has kept %+v of kernel %s", own.Load, own.Host.Kernel))
	}
	return errors.Join(errs...)
}

// mostUnexplained is of one end's growth. It is little where there are few connections, and a fresh machine fills its caches.
const mostUnexplained = 0.10
