package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

func scenarioNames() string {
	return strings.Join(experiment.ScenarioNames(), ", ") + ", or " + allScenarios
}

// runAll runs every scenario, keeps a recording of each, and prints one table.
func (f *runFlags) runAll(ctx context.Context, cmd *cobra.Command, p *progress) (err error) {
	var recordings []*recording.Recording
	defer func() {
		if len(recordings) > 0 { // the table of what there is, whatever went wrong then
			f.messages.flush()
			err = errors.Join(err, f.delivery.write(f.text, func(w io.Writer) error {
				return text.Format{Color: colored(cmd)}.WriteScenarios(w, report.Scenarios(recordings))
			}))
		}
	}()
	for _, s := range load.Scenarios {
		fmt.Fprintf(f.messages, "scenario %s: %s\n", s.Name, s.Help)
		rec, err := f.runOne(ctx, s.Name)
		p.clear()
		if err != nil {
			return fmt.Errorf("run: scenario %s: %w", s.Name, err)
		}
		recordings = append(recordings, rec)
		path := scenarioFile(f.output, s.Name)
		if err := f.outputs.by[scenarioFlag(s.Name)].write(func(w io.Writer) error { return rec.WriteNamed(w, path) }); err != nil {
			return fmt.Errorf("run: %w", err)
		}
		if err := f.verdict(rec); err != nil {
			return err
		}
	}
	fmt.Fprintln(f.messages, "wrote", scenarioFile(f.output, "SCENARIO"), "for each")
	return nil
}

// scenarioFlag is what a scenario's recording is called among the outputs.
func scenarioFlag(name string) string { return "--output for scenario " + name + ":" }

func (f *runFlags) runOne(ctx context.Context, scenario string) (*recording.Recording, error) {
	o := f.Options.Options
	o.Scenario, o.Started = scenario, time.Now()
	if o.Conns == 0 {
		o.Conns = allConns
	}
	o.Hooked = nil // the same for all
	return experiment.Run(ctx, o)
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
