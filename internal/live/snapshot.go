package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/filter"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/owner"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// Options chooses what is looked at.
type Options struct {
	// By is the keys that the report will group by.
	By []string
	// Choice chooses endpoints; the zero value chooses all. The books are of the whole host all the same.
	Choice Choice
	// Exact lets the kernel be asked to settle its counts, which writes to the host.
	Exact bool
	// NoCalibrate leaves out what only a batch of connprof's own connections tells.
	NoCalibrate bool
	// Endpoints gets one CSV row an endpoint; nil for none.
	Endpoints io.Writer
	// Ranks chooses the groups whose costliest sockets are listed one by one; nil: all.
	Ranks func(*recording.Group) bool
	// Calibration is the file that a calibration is kept in; empty for CalibrationFile.
	Calibration string
}

// look is one look at the host under way.
type look struct {
	options Options
	begun   time.Time
	usage   time.Duration // CPU time used before
	probes  *loader.Probes
	machine *recording.Machine
	ledger  *account.Ledger
	caches  *account.Caches
	owners  *owner.Owners
	places  *places
	partial bool // connprof runs in a PID namespace of its own
	fields  filter.Fields
	rows    *account.EndpointList
	seen    map[uint64]struct{} // socks visited: one whose state changes meanwhile can come twice
	twice   int
	hurried int // ownerless sockets beyond mostLate
	queues  listeners
	// opening has those programs loaded as well that tell who opens connections; nil: none.
	opening *loader.Opens
	// of is the record that the look is the end of, nil for none.
	of *record
}

// Snapshot looks at all TCP sockets of the host once.
func Snapshot(o Options) (m *recording.Machine, err error) {
	begun, usage := time.Now(), cpuTime()
	w, err := NewWatcher(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return w.look(begun, usage)
}

func newLook(o Options) *look {
	return &look{options: o, begun: time.Now(), usage: cpuTime(), seen: map[uint64]struct{}{},
		machine: &recording.Machine{Notes: []string{}, Host: host(), Endpoints: []recording.EndpointRow{}, Top: []recording.TopEndpoint{},
			Stacks: []recording.Stack{}, Look: &recording.Look{By: o.By, Filter: o.Choice.Words()}}}
}

// settle has the kernel settle its counts, where that is asked for.
func (l *look) settle() {
	if !l.options.Exact {
		return
	}
	if err := kernel.SettleCounts(); err != nil {
		l.note("the kernel's counts could not be settled, and are off by what lies with the CPUs: %v", err)
	}
}

func (l *look) note(format string, args ...any) {
	// An error may be several of one kind, a line each.
	first, others, several := strings.Cut(fmt.Sprintf(format, args...), "\n")
	if several {
		first += fmt.Sprintf("; and %d more errors", strings.Count(others, "\n")+1)
	}
	l.machine.Notes = append(l.machine.Notes, first)
}

// load calibrates, if that has to be, and loads the walk with the programs that tell who opens connections.
func (l *look) load() error {
	c := l.options.calibrate()
	probes, err := l.options.load(l.opening)
	if err != nil {
		return err
	}
	l.use(probes, c)
	return nil
}

// load loads the walk, and with it what tells who opens connections.
func (o *Options) load(opening *loader.Opens) (*loader.Probes, error) {
	return loader.Load(loader.Config{Hooks: loader.WalkOnly, Live: true, Asked: o.Choice.asked(), Opens: opening, Scope: loader.InAllNetns()})
}

// use makes the look one by programs that are loaded.
func (l *look) use(probes *loader.Probes, c calibrationResult) {
	l.probes = probes
	l.machine.Look.Calibration = c.kind
	if c.note != "" {
		l.note("%s", c.note)
	}
	for _, h := range probes.Hooks() {
		l.machine.Hooks = append(l.machine.Hooks, recording.Hook{Name: h.Name, Function: h.Function, Kind: h.Kind, Attached: h.Attached,
			Note: h.Note})
	}
	slabs, aliases, err := readSlabs()
	if err != nil {
		l.note("%v: the bytes of objects are not known, their numbers are", err)
	}
	l.caches = account.CalibratedCaches(slabs, aliases, nil, c.known)
	l.caches.Meet(func() map[uint64]kernel.CacheInfo {
		met, err := probes.Caches()
		if err != nil {
			return nil // then their names are not known, as where the map was full
		}
		return met
	})
}

// calibrationResult is what the kernel's allocation sites tell; known is nil where that is left out.
type calibrationResult struct {
	known *account.Calibration
	kind  recording.Calibration
	note  string
}

func (o *Options) calibrate() calibrationResult {
	if o.NoCalibrate {
		return calibrationResult{kind: recording.Uncalibrated,
			note: "slabobj_ext vectors and security modules' objects are left out, as --no-calibrate asks"}
	}
	file := o.Calibration
	if file == "" {
		file = CalibrationFile
	}
	var c calibrationResult
	c.known, c.kind, c.note = calibrated(file, calibrate)
	return c
}

// walk finds the open files first, then the sockets: what is opened in between has an owner only after another look at the files.
func (l *look) walk() error {
	var unconnected []kernel.Endpoint
	if err := l.readOwners(&unconnected); err != nil {
		return err
	}
	l.begin()
	if l.rows != nil { // each row has its share of a bucket, so that all who use it are counted first
		if _, err := l.probes.WalkAll(l.rows.Count); err != nil {
			return err
		}
	}
	begun := time.Now()
	var late []kernel.Endpoint
	coverage, err := l.probes.WalkAll(func(e *kernel.Endpoint) error {
		switch {
		case !l.ownerless(e):
		case len(late) < mostLate:
			l.ledger.Announce(e)
			late = append(late, *e)
			return nil
		default:
			l.hurried++
		}
		return l.visit(e)
	})
	if err != nil {
		return err
	}
	l.machine.Cost.WalkSeconds = time.Since(begun).Seconds()
	if len(late) > 0 {
		unconnected = unconnected[:0]
		if err := l.readOwners(&unconnected); err != nil {
			return err
		}
		l.ledger.Owners(l.groupOwners())
	}
	for _, list := range [][]kernel.Endpoint{late, unconnected} {
		for i := range list {
			if err := l.visit(&list[i]); err != nil {
				return err
			}
		}
	}
	l.cover(coverage)
	return nil
}

// mostLate bounds how many endpoints wait for a second look at the open files.
const mostLate = 1 << 16

// ownerless tells whether an endpoint has a file that no process had open when the files were looked at.
func (l *look) ownerless(e *kernel.Endpoint) bool {
	return e.File != 0 && l.owners.Owner(e.File) == nil
}

// readOwners finds who has which socket open, and the sockets that no table of the protocol has.
func (l *look) readOwners(unconnected *[]kernel.Endpoint) error {
	join := owner.NewJoin()
	files := map[uint64]bool{}
	err := l.probes.OpenFiles(func(f *kernel.OpenFile) error {
		join.Add(f)
		if f.Endpoint != nil && !files[f.File] {
			files[f.File] = true
			*unconnected = append(*unconnected, *f.Endpoint)
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.owners = join.Finish(owner.Reader{})
	return nil
}

// begin readies the ledger.
func (l *look) begin() {
	l.ledger = account.NewLedger(0)
	l.places = &places{}
	by := account.Grouping{Owners: l.groupOwners(), Netns: true, Listener: true, Service: true, Live: true,
		Peer: slices.Contains(l.options.By, "peer"), Ranks: l.options.Ranks}
	if l.of != nil {
		by.Opener = l.of.openerOf
	}
	l.ledger.GroupBy(by)
	if l.options.Endpoints != nil {
		l.rows = account.NewEndpointList(l.options.Endpoints, l.ledger, l.caches, account.Processes{})
	}
}

// knownOwners is who has files, and where what has none comes from.
type knownOwners struct {
	*owner.Owners
	*places
	partial bool
}

// Partial tells that connprof does not see the processes outside its PID namespace.
func (k knownOwners) Partial() bool { return k.partial }

func (l *look) groupOwners() account.Owners { return knownOwners{l.owners, l.places, l.partial} }

// visit enters an endpoint, once.
func (l *look) visit(e *kernel.Endpoint) error {
	if _, ok := l.seen[e.Sock]; ok {
		l.twice++
		return nil
	}
	l.seen[e.Sock] = struct{}{}
	if l.of != nil {
		l.of.sight(e)
	}
	if e.Passed {
		l.ledger.Pass(e)
		return nil
	}
	if e.State == kernel.StateListen {
		l.queues.add(l.owners, l.places, e)
	}
	if !l.options.Choice.all() {
		if chosen, err := l.chosen(e); err != nil || !chosen {
			l.ledger.Pass(e)
			return err
		}
	}
	if l.of != nil {
		if !l.of.meet(e) {
			l.ledger.Pass(e)
			return nil
		}
	}
	if l.rows != nil {
		return l.rows.Visit(e)
	}
	l.ledger.Visit(e, l.caches)
	return nil
}

// cover says what was walked and what was not.
func (l *look) cover(c loader.Coverage) {
	l.machine.Look.Namespaces = len(c.Walked)
	if len(c.Missed) > 0 {
		l.note("%d network namespaces were not walked; of namespace %d: %v", len(c.Missed), c.Missed[0].Inode, c.Missed[0].Why)
	}
	if l.twice > 0 {
		l.note("%d sockets were met twice while their states changed, and counted once", l.twice)
	}
	if l.hurried > 0 {
		l.note("%d sockets that no process was seen to have were not looked for a second time: some may have been opened meanwhile", l.hurried)
	}
	l.machine.Losses.WalkSkipped += c.Overfull
}

// finish closes the ledger and holds it against the kernel's books.
func (l *look) finish() error {
	books := l.readBooks()
	if l.of == nil {
		l.ledger.FillWalk(l.machine, l.caches)
	}
	l.ledger.FillBooks(l.machine, books)
	if !l.options.Choice.all() {
		l.note("the account is of the sockets that were chosen; the books are of the whole host")
	}
	l.machine.Look.Listeners = l.queues.list()
	l.machine.Losses.WalkSkipped += l.ledger.Skipped()
	var err error
	if l.rows != nil {
		err = l.rows.Flush()
	}
	c := &l.machine.Cost
	c.ProfilerRSSBytes = kernel.ResidentBytes(os.Getpid())
	maps, mapErr := l.probes.MapBytes()
	c.BPFMapBytes = maps
	c.CPUSeconds = (cpuTime() - l.usage).Seconds()
	l.machine.Look.Seconds = time.Since(l.begun).Seconds()
	return errors.Join(err, mapErr)
}

// cpuTime is what this process has used so far, in user space and in the kernel: the walk's programs run on its account.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
