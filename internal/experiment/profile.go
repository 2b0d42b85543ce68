package experiment

import (
	"fmt"
	"slices"
	"time"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/measure"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
)

// profile is what a run learns from the kernel of the connections that it opens.
type profile interface {
	// hooks lists what the probes got.
	hooks() []recording.Hook
	// know is told which processes are the load's, 0 for one that is not on this host.
	know(client, server int) error
	// baseline takes the first look at slab memory.
	baseline() (account.Snapshot, error)
	// batchSize is how many connections are looked at closely before there are more, 0 for none.
	batchSize() int
	// takeBatch looks at them. Rest, in the middle of it, lets the other end do so. It finds what a client and a server
	// endpoint cost, in slab pages.
	takeBatch(connections int, rest func() error) (client, server uint64, err error)
	// traceArranging begins to trace what brings a number of connections into their scenario.
	traceArranging(conns int) error
	// account writes what there is into the machine's part of the recording.
	account(*Stage) error
	// stillUp counts the connections that are in their scenario's states.
	stillUp(*Stage) (int, error)
	// queued counts the connections that nobody has accepted.
	queued() (int, error)
	close()
}

// unprofiled is a run's load alone.
type unprofiled struct{}

func (unprofiled) hooks() []recording.Hook             { return []recording.Hook{} }
func (unprofiled) know(int, int) error                 { return nil }
func (unprofiled) baseline() (account.Snapshot, error) { return measure.ReadSlabs() }
func (unprofiled) batchSize() int                      { return 0 }
func (unprofiled) traceArranging(int) error            { return nil }
func (unprofiled) account(*Stage) error                { return nil }
func (unprofiled) close()                              {}
func (unprofiled) queued() (int, error)                { return 0, nil }

func (unprofiled) takeBatch(int, func() error) (client, server uint64, err error) { return 0, 0, nil }

func (unprofiled) stillUp(s *Stage) (int, error) {
	if err := s.engine.Settle(time.Minute); err != nil {
		return 0, err
	}
	p := s.engine.Progress()
	return p.Up() - p.Lost, nil
}

// profiled is a run with probes on.
type profiled struct {
	*measure.Measurement
	ends *Ends
	size int
}

func startProfile(p *Plan, network loader.Netns) (profile, error) {
	if p.Options.NoProfile {
		return unprofiled{}, nil
	}
	m, err := measure.Start(measure.Config{Networks: []loader.Netns{network}, Tracked: p.tracked, Ports: p.Ends.probed(), Owns: p.Ends.owns, Services: p.Ends.services(),
		Force: p.Options.Hooks, Endpoints: 2 * p.Conns, Batch: p.batchSize(),
		SampleInterval: sampleInterval(p.batchSize()), Others: true, Queues: p.Scenario.Queues()})
	if err != nil {
		return nil, err
	}
	return profiled{m, p.Ends, p.batchSize()}, nil
}

func (p profiled) hooks() []recording.Hook             { return p.Hooks() }
func (p profiled) baseline() (account.Snapshot, error) { return p.Baseline() }
func (p profiled) batchSize() int                      { return p.size }
func (p profiled) close()                              { p.Close() }
func (p profiled) queued() (int, error)                { return p.Queued() }

func (p profiled) know(client, server int) error {
	if err := p.SetRoles(client, server, !p.ends.private()); err != nil {
		return err
	}
	if p.ends.Served {
		return p.OthersServe()
	}
	if p.ends.Here != kernel.RoleServer {
		return nil
	}
	return p.SampleAccepted()
}

func (p profiled) takeBatch(connections int, rest func() error) (client, server uint64, err error) {
	if err := p.TakeBatch(connections); err != nil {
		return 0, 0, err
	}
	if err := rest(); err != nil {
		return 0, 0, err
	}
	if err := p.LeaveAllocations(); err != nil {
		return 0, 0, err
	}
	return p.EndpointBytes()
}

func (p profiled) traceArranging(conns int) error { return p.TraceArranging(sampleInterval(conns)) }

// threadCaches serve what the kernel makes for a thread: itself and its number; for its stack in the kernel an area of
// addresses with the list of its pages; for its stack in user space two mappings, with what leads from a page back to
// one, and their places in the process's tree of mappings.
var threadCaches = []string{"task_struct", "pid", "vmap_area", "vm_struct", "kmalloc-32", "kmalloc-64", "kmalloc-96", "vm_area_struct",
	"anon_vma", "anon_vma_chain", "maple_node"}

// processCaches serve what it makes for a process, beside its threads.
var processCaches = []string{"mm_struct", "files_cache", "fs_cache", "signal_cache", "sighand_cache", "cred", "cred_jar"}

func (p profiled) account(s *Stage) error {
	s.comeToRest()
	after, err := measure.ReadSlabs()
	if err != nil {
		return err
	}
	var list *measure.List
	if to := s.plan.Options.Endpoints; to != nil {
		list = &measure.List{To: to, Owners: s.owners()}
	}
	if err := p.Account(s.machine, after, list); err != nil {
		return err
	}
	if err := s.fillTracked(); err != nil {
		return err
	}
	switch {
	case s.plan.Options.ThreadPerConnection:
		account.FillThreads(s.machine, p.Before(), after, account.Listed(threadCaches, p.Aliases()))
	case s.plan.served != nil:
		account.FillThreads(s.machine, p.Before(), after, account.Listed(slices.Concat(processCaches, threadCaches), p.Aliases()))
	}
	if last := s.engine.Progress().Last; last > 0 {
		s.machine.Cost.AccountSeconds = (load.Monotonic() - last).Seconds()
	}
	s.noteDoubts()
	s.noteListedFiles(p.Before(), after)
	return p.noteQueues(s)
}

// noteListedFiles says that somebody lists the open files of processes in /proc, which leaves a proc_inode and a dentry for each.
func (s *Stage) noteListedFiles(before, after account.Snapshot) {
	const cache = "proc_inode_cache"
	was, is := before.Slabs[cache], after.Slabs[cache]
	if grown := int64(is.ActiveObjects) - int64(was.ActiveObjects); grown > int64(max(100, s.machine.Load.Established/50)) {
		s.note(fmt.Sprintf("%d files in /proc were looked at meanwhile, by other programs or by connprof where the server has many processes: "+
			"proc_inode_cache has grown by %.1f MiB, and the dentry cache as well, which is no connection's", grown,
			float64(int64(is.PageBytes())-int64(was.PageBytes()))/(1<<20)))
	}
}

// owners names the load processes, which no longer need to be looked up by then.
func (s *Stage) owners() account.Processes {
	client, server := s.engine.PIDs()
	if s.plan.served != nil {
		server = s.plan.served.pid()
	}
	return account.Processes{ClientPID: client, ServerPID: server, Comm: kernel.Comm}
}

func (p profiled) stillUp(s *Stage) (int, error) {
	ends, err := p.Count()
	in := s.plan.Scenario
	clients := ends[measure.End{Role: kernel.RoleClient, State: in.Client}]
	servers := ends[measure.End{Role: kernel.RoleServer, State: in.Server}]
	switch {
	case in.Listens:
		return ends[measure.End{Role: kernel.RoleListener, State: kernel.StateListen.String()}], err
	case in.Server == "" || p.ends.Elsewhere(kernel.RoleServer):
		return clients, err
	case p.ends.Elsewhere(kernel.RoleClient):
		return servers, err
	default:
		return min(clients, servers), err
	}
}
