package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/text"
	"github.com/connprof/connprof/load"
)

// allScenarios is the value of --scenario that runs them one after the other.
const allScenarios = "all"

// allConns is how many connections each of all scenarios opens by default.
const allConns = 20_000

// maxPayload fits into the send and receive buffers that a fresh namespace allows, so that sending never waits.
const maxPayload = 32 << 10

func scenarioNames() string {
	var names []string
	for _, s := range load.Scenarios {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

func knownScenario(name string) bool {
	_, ok := load.FindScenario(name)
	return name == allScenarios || ok && name != ""
}

// runAll runs every scenario, keeps a recording of each, and prints one table.
func (f *runFlags) runAll(cmd *cobra.Command, p *progress) error {
	stop, abort, release := watchSignals()
	defer release()
	var recordings []*recording.Recording
	for _, s := range load.Scenarios {
		fmt.Fprintf(os.Stderr, "scenario %s: %s\n", s.Name, s.Help)
		rec, err := f.runOne(s, p, stop, abort)
		p.clear()
		if err != nil {
			return fmt.Errorf("run: scenario %s: %w", s.Name, err)
		}
		path := scenarioFile(f.output, s.Name)
		if err := writeFile(path, func(w io.Writer) error { return rec.WriteNamed(w, path) }); err != nil {
			return err
		}
		if err := f.verdict(rec); err != nil {
			return err
		}
		recordings = append(recordings, rec)
	}
	fmt.Fprintln(os.Stderr, "wrote", scenarioFile(f.output, "SCENARIO"), "for each")
	return writeFile("-", func(w io.Writer) error {
		return text.Format{Color: colored(cmd)}.WriteScenarios(w, report.Scenarios(recordings))
	})
}

func (f *runFlags) runOne(s load.Scenario, p *progress, stop, abort <-chan struct{}) (*recording.Recording, error) {
	one := *f
	one.scenario, one.started = s.Name, time.Now()
	if one.conns == 0 {
		one.conns = allConns
	}
	o := one.options(p)
	o.Hooked = nil // the same for all
	o.Stop, o.Abort = stop, abort
	return experiment.Run(o)
}

// scenarioFile puts a scenario's name before the endings of a recording's.
func scenarioFile(path, name string) string {
	dir, base := filepath.Split(path)
	stem, endings, _ := strings.Cut(base, ".")
	if endings != "" {
		endings = "." + endings
	}
	return dir + stem + "-" + name + endings
}
