//go:build vm

package vm

import (
	"path"
	"strconv"
	"testing"

	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/test/check"
	"github.com/connprof/connprof/test/vm/wire"
)

// scenarioConns is how many connections each scenario opens: enough that one slab more or less does not show, few enough
// for an emulated processor.
const scenarioConns = 5000

// TestScenarios holds every scenario's connections under each kernel. With CONNPROF_VM_OUT set it leaves the recordings
// that `make scenario-table` makes docs/results/scenarios.md from.
func TestScenarios(t *testing.T) {
	needQemu(t)
	files := map[string]string{"/connprof": buildCommand(t, t.TempDir(), "./cmd/connprof")}
	forEachKernel(t, func(t *testing.T, version string) {
		result := bootKernel(t, version, version, Config{Files: files, Commands: []wire.Command{allScenarios()}})
		for _, c := range result.Commands {
			checkEnd(t, c)
		}
		for _, s := range load.Scenarios {
			t.Run(s.Name, func(t *testing.T) {
				m := readOne(t, result.Files, "recording-"+s.Name+".json")
				if err := check.AloneIn(m, s, s.AmongAll(scenarioConns)); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func allScenarios() wire.Command {
	return wire.Command{
		Argv: []string{"/connprof", "run", "--scenario", "all", "--conns", strconv.Itoa(scenarioConns),
			"-o", path.Join(wire.OutDir, recordingName)},
		TimeoutSeconds: commandTimeout.Seconds(),
	}
}
