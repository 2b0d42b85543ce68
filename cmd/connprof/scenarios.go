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

// runAll runs every scenario, keeps a recording of each, and prints one table of those that went well, however many that are.
func (f *runFlags) runAll(ctx context.Context, cmd *cobra.Command, p *progress) error {
	var recordings []*recording.Recording
	var failed []error
	for _, s := range load.Scenarios {
		fmt.Fprintf(f.messages, "scenario %s: %s\n", s.Name, s.Help)
		rec, err := f.record(ctx, s.Name)
		p.clear()
		if err == nil {
			recordings = append(recordings, rec)
			continue
		}
		failed = append(failed, fmt.Errorf("scenario %s: %w", s.Name, err))
		// What the first one cannot do no other can, and who interrupts one means all.
		if len(recordings) == 0 || stopped(f.Stop) || ctx.Err() != nil {
			break
		}
	}
	if len(recordings) == 0 {
		return fmt.Errorf("run: %w", failed[0])
	}
	fmt.Fprintln(f.messages, "wrote", scenarioFile(f.output, "SCENARIO"), "for each")
	f.messages.flush()
	err := f.delivery.write(f.text, func(w io.Writer) error {
		return text.Format{Color: colored(cmd)}.WriteScenarios(w, report.Scenarios(recordings))
	})
	if len(failed) > 0 {
		err = errors.Join(err, fmt.Errorf("run: %w; the table has the %d others", errors.Join(failed...), len(recordings)))
	}
	return err
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// record runs one scenario and writes its recording. What did not go well is an error; its recording is there all the same.
func (f *runFlags) record(ctx context.Context, scenario string) (*recording.Recording, error) {
	rec, err := f.runOne(ctx, scenario)
	if err != nil {
		return nil, err
	}
	path := scenarioFile(f.output, scenario)
	if err := f.outputs.by[scenarioFlag(scenario)].write(func(w io.Writer) error { return rec.WriteNamed(w, path) }); err != nil {
		return nil, err
	}
	return rec, f.outcome(rec)
}

// scenarioFlag is what a scenario's recording is called among the outputs.
func scenarioFlag(name string) string { return "--output for scenario " + name + ":" }

func (f *runFlags) runOne(ctx context.Context, scenario string) (*recording.Recording, error) {
	o := f.Options.Options
	o.Scenario, o.Started = scenario, time.Now()
	if o.Conns == 0 {
		o.Conns = allConns
	}
	if s, ok := load.FindScenario(scenario); ok {
		o.Conns = s.AmongAll(o.Conns)
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
