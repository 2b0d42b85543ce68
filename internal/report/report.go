package report

import (
	"io"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Format is one way to show a report, and a difference. Errors are the writer's.
type Format interface {
	Write(w io.Writer, r *Report) error
	WriteDiff(w io.Writer, d *Diff) error
}

// Report is what is shown of one recording. All text in it is safe to print. Lists that the recording has nothing for are
// empty, and then their sections are left out.
type Report struct {
	Command string
	Host    string // the machine, or the machines and their kernels
	Kernels string
	// Recording is for formats that other programs read, which need whole numbers. It is as fit to be shown as all else.
	Recording *recording.Recording

	Answer Answer
	Status []Fact   // whether to trust it, in a few words each
	Alerts []string // why it is not whole
	Tiles  []Tile

	Run   []Fact
	Load  []Fact // empty where connprof opened nothing
	Hooks []HookTable
	Plan  Plan
	// Servers compares two servers, where the run was of both.
	Servers Servers
	// Server is the accepting end where that was a program of the user's.
	Server OwnServer

	Rows []Row
	// Ends are the rows that the answer is made of.
	Ends       []Row
	Connection []ConnectionLine // empty where connprof opened nothing

	Stays  Stays  // what was left once all were closed
	Cycles Cycles // what grew as they were opened and closed again and again

	Accounts  []Account
	Trace     Trace
	Losses    []Losses
	Costs     []Cost
	CallPaths CallPaths

	Timelines []Timeline
	Notes     []string
	Top       []TopLine
	Sites     []SiteTable

	// Look is what only a look at a running host has, nil elsewhere; Record what a record has beside it.
	Look   *Look
	Record *Record

	Paths []*Path
	// Counts are the endpoints of each role.
	Counts map[kernel.Role]int
}

// Fact is one line that is no table: what, how much, and whether it deserves a second look.
type Fact struct {
	Key, Value string
	Warn       bool
}

// New works out the report of a recording.
func New(r *recording.Recording) *Report { return newReport(tidy(r)) }

func newReport(r *recording.Recording) *Report {
	return &Report{
		Command: format.Command(r.Command), Host: hosts(r), Kernels: kernels(r), Recording: r,
		Answer: answerOf(r), Status: status(r), Alerts: alerts(r), Tiles: tiles(r),
		Run: runFacts(r), Load: loadFacts(r), Hooks: hookTables(r), Plan: planOf(r), Servers: serversOf(r), Server: ownServerOf(r),
		Rows: rowsOf(sortedRows(r)), Ends: rowsOf(connectionOf(r).ends()), Connection: connectionLines(r),
		Stays: staysOf(r), Cycles: cyclesOf(r), Accounts: accountsOf(r), Trace: traceOf(r), Losses: lossesOf(r), Costs: costsOf(r), CallPaths: callPathsOf(r),
		Timelines: timelinesOf(r), Notes: notes(r), Top: topOf(r), Sites: siteTables(r),
		Paths: callPaths(r), Counts: r.Counts(), Look: lookOf(r, Options{}.of(r)), Record: recordOf(r, Options{}.of(r)),
	}
}

// Samples are the call paths, and what owners hold where a look has none: what other programs are given. They are worked out when
// asked for, since a look has many.
func (r *Report) Samples() []*Path { return pathsOf(r.Recording) }
