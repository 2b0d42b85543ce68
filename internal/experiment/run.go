// Package experiment is one measured run from end to end, in phases: plan, open, baseline, batch, ramp, arrange, measure, hold,
// close. It readies the network (netcfg), starts the load (load) and the measurement (measure), and puts what they find into a
// recording. It knows nothing of flags and terminals: progress goes to a callback. What is special about a run whose other end
// is on another machine stands behind Peer; package remote has that.
package experiment

import (
	"context"
	"errors"

	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
)

// Run makes a run with both ends on this host and returns its recording. The recording is not nil when connections were
// opened, even if the error says that something went wrong after that. The end of the context ends the run at once, with
// ErrAborted if there is no account yet; Options.Stop ends the ramp.
func Run(ctx context.Context, o Options) (*recording.Recording, error) {
	if err := limits.CheckPrivileges("run"); err != nil {
		return nil, err
	}
	plan, err := NewPlan(o, BothHere())
	if err != nil {
		return nil, err
	}
	if o.ThreadPerConnection {
		return compareServers(ctx, plan)
	}
	if o.Server != nil {
		plan.served = newServed(o.Server)
		return RunWith(ctx, plan, plan.served)
	}
	return RunWith(ctx, plan, nobody{})
}

// RunWith makes a planned run of which this host has the connecting end, and whose other end is the peer.
func RunWith(ctx context.Context, plan *Plan, peer Peer) (*recording.Recording, error) {
	rec, err := inPhases(ctx, plan, peer)
	if rec == nil && ctx.Err() != nil {
		return nil, ErrAborted // and not what came of the load's end
	}
	return rec, err
}

func inPhases(ctx context.Context, plan *Plan, peer Peer) (*recording.Recording, error) {
	defer peer.Leave()
	if err := peer.Agree(plan); err != nil {
		return nil, err
	}
	stage, err := Open(ctx, plan)
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	defer peer.Leave() // before that: it asks the engine for its progress
	if err := peer.Begin(stage.engine); err != nil {
		return nil, err
	}
	if err := stage.watchIdle(ctx); err != nil || ctx.Err() != nil {
		return nil, err
	}
	if err := stage.Baseline(); err != nil {
		return nil, err
	}
	if err := stage.takeStock(); err != nil {
		return nil, err
	}
	watch := stage.Watch(peer.Stop)
	spent := stage.cpuTime()
	if err := batch(ctx, stage, watch, peer); err != nil {
		return nil, err
	}
	if err := ramp(ctx, stage, watch); err != nil {
		return nil, err
	}
	if stage.engine.Err() == nil { // a process that has ended no longer has its time
		stage.machine.Load.ConnectCPUSeconds = (stage.cpuTime() - spent).Seconds()
	}
	if err := arrange(stage, peer); err != nil || ctx.Err() != nil {
		return nil, err
	}
	peer.Measure()
	rec, err := stage.Measure(watch, peer.Err() != nil)
	if err != nil || ctx.Err() != nil {
		return nil, err
	}
	peer.Join(rec)
	if stage.stays != nil || plan.Options.Cycles > 0 { // what they find belongs into the account
		err = hold(ctx, stage, watch, peer)
		return rec, errors.Join(err, stage.afterClose(ctx), stage.repeat(ctx, watch), plan.Options.measured(rec))
	}
	err = plan.Options.measured(rec)
	peer.Linger(ctx.Done())
	return rec, errors.Join(err, hold(ctx, stage, watch, peer))
}

// batch opens the first connections and, once they are up and at rest, looks at them closely. The plan is made anew by what
// one costs. A batch that was interrupted is not looked at.
func batch(ctx context.Context, stage *Stage, watch *Watch, peer Peer) error {
	size := stage.profile.batchSize()
	if size > 0 {
		stage.engine.Limit(size)
	}
	if err := stage.engine.Begin(); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	if up, err := watch.atRest(ctx, size); err != nil || !up {
		return err
	}
	connections := stage.engine.Progress().Up()
	return stage.TakeBatch(connections, func() error { return peer.Rest(stage.plan, connections) })
}

// ramp opens the others. It returns when all are up or given up, or when something ended it early.
func ramp(ctx context.Context, stage *Stage, watch *Watch) error {
	defer stage.engine.StopRamp() // shards that wait for a higher limit wait no more
	if watch.look(); watch.over { // the batch was all
		return nil
	}
	return watch.until(ctx, tick, func() bool { return watch.over })
}

// arrange brings the connections into the scenario, each end its part. What that allocates is traced: nothing is in a hurry.
func arrange(stage *Stage, peer Peer) error {
	if err := stage.TraceArranging(); err != nil {
		return err
	}
	for step := range stage.plan.Scenario.Steps() {
		if peer.Err() != nil {
			return nil // Join says so
		}
		if err := peer.Act(step); err != nil {
			return err
		}
		if err := stage.Act(step); err != nil {
			return err
		}
	}
	return nil
}
