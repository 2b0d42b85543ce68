package experiment

import (
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// Peer is the other end, as the end that connects sees it. Where it is on another machine, each phase of the run is made
// there as well. An error of a method ends the run; that the peer is gone is none: Err says so, and the run goes on with what
// there is.
type Peer interface {
	// Agree settles what is going to be opened. It may lower the plan, and says where the ends are.
	Agree(*Plan) error
	// Begin has the peer take its baseline. From here on both tell each other of their progress.
	Begin(*load.Engine) error
	// Rest has the peer look at the batch, which rests at both ends. It may lower the plan.
	Rest(p *Plan, connections int) error
	// Stop is why no more connections are to be opened, empty for none.
	Stop(*load.Engine) string
	// Act has the peer take its part in a step of the scenario.
	Act(step int) error
	// Measure has the peer make its account, and Join takes that in, or notes that it did not come.
	Measure()
	Join(*recording.Recording)
	// Gone is closed when the peer is no longer there; Err is why.
	Gone() <-chan struct{}
	Err() error
	// Linger keeps the connections for a peer that is silent and may be there, until abort is closed.
	Linger(abort <-chan struct{})
	// Leave says good-bye. Afterwards nothing asks the engine for anything.
	Leave()
}

// nobody is the peer of a run with both ends on this host. It does nothing.
type nobody struct{}

func (nobody) Agree(*Plan) error         { return nil }
func (nobody) Begin(*load.Engine) error  { return nil }
func (nobody) Rest(*Plan, int) error     { return nil }
func (nobody) Stop(*load.Engine) string  { return "" }
func (nobody) Act(int) error             { return nil }
func (nobody) Measure()                  {}
func (nobody) Join(*recording.Recording) {}
func (nobody) Gone() <-chan struct{}     { return nil }
func (nobody) Err() error                { return nil }
func (nobody) Linger(<-chan struct{})    {}
func (nobody) Leave()                    {}
