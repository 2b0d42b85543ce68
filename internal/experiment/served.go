package experiment

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/connprof/connprof/internal/guard"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/netcfg"
)

// ServerCommand is a program of the user's that is the accepting end.
type ServerCommand struct {
	guard.Command
	// Port is the one that it is to listen on, 0: the only one that it listens on.
	Port int
	// Wait is how long it may take until it listens.
	Wait time.Duration
	// Output gets what it writes, nil for none. The last of it is kept in any case.
	Output io.Writer
}

// ownFiles are what a server has open beside its connections.
const ownFiles = 10_000

// served is the other end where it is a program of the user's, in the run's own network.
type served struct {
	nobody
	command *ServerCommand
	guard   *guard.Guard
	words   *lastWords
	at      netip.AddrPort
	queues  *acceptQueues
	left    chan struct{} // closed when the engine is to be asked no more
	talked  sync.WaitGroup
	before  serverUse
	gone    chan struct{} // closed once nothing of the program runs
	notes   []string
	once    sync.Once
}

func newServed(c *ServerCommand) *served {
	return &served{command: c, words: &lastWords{to: c.Output}, left: make(chan struct{}), gone: make(chan struct{})}
}

// start starts the program in the run's network, and waits until it listens and is at rest.
func (s *served) start(network *netcfg.Private, plan *Plan) error {
	c := s.command.Command
	c.Files = uint64(2*plan.Conns + ownFiles)
	most, err := load.MostFiles()
	if err != nil {
		return err
	}
	c.Files = min(c.Files, most)
	s.guard, err = guard.Start(c, s.words, func(cmd *exec.Cmd) error { return network.Do(cmd.Start) })
	if err != nil {
		return err
	}
	if files := s.guard.Files(); files < uint64(plan.Conns) {
		s.notes = append(s.notes, fmt.Sprintf("each process of the server may have %d files open (RLIMIT_NOFILE), fewer than the connections "+
			"asked for; raising it takes CAP_SYS_RESOURCE, and fs.nr_open = %d is the most", files, most))
	}
	go s.follow()
	if err := s.listens(network, plan.Options.IPv6); err != nil {
		return err
	}
	if s.queues, err = findQueues(s.guard, s.at.Port(), network); err != nil {
		return err
	}
	if !plan.Options.IPv6 && s.queues.v6only {
		return fmt.Errorf("the server listens on [::]:%d alone, and takes no IPv4 there (IPV6_V6ONLY): use --ipv6, or have it listen on 0.0.0.0", s.at.Port())
	}
	s.rest()
	return nil
}

// follow notes the end of the program.
func (s *served) follow() {
	<-s.guard.Over()
	s.once.Do(func() { close(s.gone) })
}

// listens waits until the program listens, and notes where.
func (s *served) listens(network *netcfg.Private, ipv6 bool) error {
	var seen []netip.AddrPort
	var why error
	for begun, steady := time.Now(), time.Now(); ; time.Sleep(20 * time.Millisecond) {
		select {
		case <-s.gone:
			return fmt.Errorf("the server ended before it listened: %s%s", s.guard.Status(), s.words.said())
		default:
		}
		now, err := listenersIn(network)
		if err != nil {
			return err
		}
		if fmt.Sprint(now) != fmt.Sprint(seen) {
			seen, steady = now, time.Now()
		}
		if s.at, why = chooseListener(seen, s.command.Port, network.Server, ipv6); why == nil && time.Since(steady) > steadyTime {
			return nil
		}
		if time.Since(begun) > s.command.Wait {
			return fmt.Errorf("%w; it has had %v (--server-wait)%s", why, s.command.Wait, s.words.said())
		}
	}
}

// steadyTime is how long a server has to listen on the same addresses.
const steadyTime = 200 * time.Millisecond

// rest waits until the program's processes work no more, for a while at the most: what has no connections, or many, may have begun
// with something of its own.
func (s *served) rest() {
	const look, most = 100 * time.Millisecond, 3 * time.Second
	last := s.cpuTime()
	for end := time.Now().Add(most); time.Now().Before(end); {
		time.Sleep(look)
		now := s.cpuTime()
		if now-last < look/50 && !s.wantsCPU() {
			return
		}
		last = now
	}
}

// wantsCPU tells whether any thread of the program runs, or waits for a CPU that others have.
func (s *served) wantsCPU() bool { return slices.ContainsFunc(s.guard.Processes(), kernel.WantsCPU) }

func (s *served) cpuTime() (sum time.Duration) {
	for _, pid := range s.guard.Processes() {
		sum += kernel.CPUTime(pid)
	}
	return sum
}

// serverUse is what the program's processes take.
type serverUse struct {
	recording.ServerMemory
	cpu time.Duration
}

func (s *served) use() serverUse {
	u := serverUse{}
	for _, pid := range s.guard.Processes() {
		m := kernel.ReadProcessMemory(pid)
		u.Processes++
		u.Threads += m.Threads
		u.RSSBytes += int64(m.Resident)
		u.PSSBytes += int64(m.Proportional)
		u.AnonymousBytes += int64(m.Anonymous)
		u.PageTableBytes += int64(m.PageTables)
		u.cpu += kernel.CPUTime(pid) + m.Waited
	}
	u.cpu += kernel.ReadProcessMemory(s.guard.Keeper()).Waited // of those that nobody else waits for
	u.KernelStackBytes = int64(u.Threads) * int64(kernel.StackBytes())
	return u
}

// bytesEach is what the program takes for each of so many connections, beside slab memory.
func (s *served) bytesEach(connections int) uint64 {
	if s == nil || connections == 0 {
		return 0
	}
	s.rest()
	now := s.use()
	return uint64(max(0, now.PSSBytes+now.PageTableBytes+now.KernelStackBytes-s.before.PSSBytes-s.before.PageTableBytes-
		s.before.KernelStackBytes)) / uint64(connections)
}

// Begin takes the program's baseline. From here on the engine hears what the program has accepted.
func (s *served) Begin(engine *load.Engine) error {
	s.before = s.use()
	s.talked.Go(func() { s.talk(engine) })
	return nil
}

// talkServed is how often the accept queues are looked at: the load goes on at once, and the look costs microseconds.
const talkServed = 2 * time.Millisecond

// talk tells the engine what the program has accepted: what is connected and in no accept queue.
func (s *served) talk(engine *load.Engine) {
	ticker := time.NewTicker(talkServed)
	defer ticker.Stop()
	for {
		select {
		case <-s.left:
			return
		case <-s.gone:
			return
		case <-ticker.C:
		}
		connected := engine.Progress().Connected // before the queues: what comes meanwhile is counted next time
		engine.Tell(load.Progress{Accepted: max(0, connected-s.queues.length())})
	}
}

// Stop is why no more connections are to be opened: the program has ended.
func (s *served) Stop(engine *load.Engine) string {
	if s.Err() == nil {
		return ""
	}
	return fmt.Sprintf("the server ended with %d of its connections up: %s%s", engine.Progress().Established, s.guard.Status(), s.words.said())
}

// Gone is closed when nothing of the program runs.
func (s *served) Gone() <-chan struct{} { return s.gone }

// Err is how the program has ended, nil while it runs.
func (s *served) Err() error {
	select {
	case <-s.gone:
		return fmt.Errorf("the server ended: %s%s", s.guard.Status(), s.words.said())
	default:
		return nil
	}
}

// Measure waits until the program has done what there was to do.
func (s *served) Measure() { s.rest() }

// Join writes what is known of the program into the recording. What it takes is asked after the account: each look at a process leaves
// inodes in /proc, which are slab memory.
func (s *served) Join(r *recording.Recording) {
	m := r.Machines[0]
	m.Notes = append(m.Notes, s.notes...)
	b, a := s.before, s.use()
	if s.Err() != nil { // what it took has gone with it
		a, b = serverUse{}, serverUse{}
	}
	server := &recording.Server{Command: s.command.Args, Address: s.at.String(), Backlog: s.queues.backlog, Memory: a.ServerMemory,
		Growth: a.Since(b.ServerMemory), CPUSeconds: max(0, a.cpu-b.cpu).Seconds()}
	if err := s.Err(); err != nil {
		server.Ended = s.guard.Status()
	}
	m.Load.Server = server
}

// Leave ends the talk. The engine is asked for nothing any more.
func (s *served) Leave() {
	select {
	case <-s.left:
	default:
		close(s.left)
	}
	s.talked.Wait()
}

// end ends the program.
func (s *served) end() {
	if s == nil {
		return
	}
	if s.guard != nil {
		s.guard.End()
	}
}

// PID is the program's first process, 0 before there is one.
func (s *served) pid() int {
	if s == nil || s.guard == nil {
		return 0
	}
	return s.guard.PID()
}

// lastWords passes on what a program writes, and keeps the last of it.
type lastWords struct {
	mu   sync.Mutex
	to   io.Writer
	last []byte
}

// keptWords is how much of it is kept, in bytes.
const keptWords = 2 << 10

func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = append(w.last, b...)
	if over := len(w.last) - keptWords; over > 0 {
		w.last = append(w.last[:0], w.last[over:]...)
	}
	if w.to != nil {
		if _, err := w.to.Write(b); err != nil {
			w.to = nil // the server is not to end for it
		}
	}
	return len(b), nil
}

// said is the last line, as the end of a sentence; empty where nothing was written.
func (w *lastWords) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.TrimSpace(string(bytes.ToValidUTF8(w.last, nil)))
	if text == "" {
		return ""
	}
	return "; it last wrote: " + text[strings.LastIndexByte(text, '\n')+1:]
}
