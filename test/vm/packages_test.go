//go:build vm

package vm

import (
	"os"
	"slices"
	"strings"

	"github.com/connprof/connprof/internal/kernel"
)

// testPackages are the folders whose tests also run in the virtual machines: those that talk to the kernel. One
// without tests is left out. Of the program's own tests it is those of the commands that change the host: the others
// need a shell, take minutes on an emulated processor, or ask the kernel nothing.
//
// The program's own come first: they hold the account against the growth of the machine's slab memory, and sockets with unsent
// data that the tests of queues leave behind go when their timers say, minutes later.
var testPackages = []testPackage{
	// The main job, with 20 addresses as well, has its growth explained on every kernel.
	{folder: "test/cli", run: "Netup|Netdown|Growth|ASnapshot|TheMetricsAre|OpensAndCloses|TopTellsWhat|AServerOfYourOwn|SeveralProcesses|SaidOnAConnection", skip: "BadInput|Help",
		once:     "TestGrowthOfRunsBetweenTwoHostsIsExplained/20_addresses|SeveralProcesses|SaidOnAConnection|TestASnapshotIsShown|TestCheckCountsMore",
		parallel: waiting},
	{folder: "netcfg", parallel: waiting}, {folder: "load"}, {folder: "loader"}, {folder: "internal/limits"},
	{folder: "internal/account", kernels: []string{onceOn}}, // pure Go: the same everywhere
	{folder: "internal/experiment", once: "TestStop|TestAbort|TestHeld|TestWithoutProfile|TestAThreadedRunWithoutAProfile|TestEndpointList|TestALargePayload|TestSchemes|" +
		"TestAThreadedRunIs"},
	{folder: "internal/measure"}, {folder: "internal/kernel"}, {folder: "internal/live", run: "AWatcherCounts"},
	{folder: "test/leaks", run: "Static|Churn|DoNotComeUp|WithoutAPort", once: "TestAChurn|TestALeakOfAStaticProgramIsFound/Go",
		built: leakPrograms},
	{folder: hostLimits, kernels: []string{onceOn}}}

// onceOn is the kernel for what is asked of one only. With CONNPROF_VM_ALL set it is asked of all.
const onceOn = "6.12"

// hostLimits are the tests that lower limits of the whole host, half a minute's worth.
const hostLimits = "test/hostlimits"

type testPackage struct {
	folder  string
	kernels []string // where it runs, everywhere if empty
	// run and skip choose among its tests, all if empty; once are those whose claim is about connprof itself and not about what a
	// kernel does, or that another test makes on every kernel.
	run, skip, once string
	// built is what the tests start that cannot be compiled there: commands that make FILE, by its name in the folder "built".
	built map[string]string
	// parallel is how many tests run at a time, of those that may; as many as processors if 0.
	parallel int
}

// leakPrograms are those of the programs of test/leaks that need no library, by the commands that compile them. Go's has no DWARF:
// reading it takes an emulated processor longer than a record spends on one process.
var leakPrograms = map[string]string{
	"leak-static": "gcc -O2 -static -o FILE test/leaks/programs/leak.c",
	"leak-bare":   "gcc -O2 -static -s -o FILE test/leaks/programs/leak.c",
	"failures":    "gcc -O2 -static -o FILE test/leaks/programs/failures.c",
	"shop":        "go build -ldflags=-w -o FILE ./test/leaks/programs/shop",
	"shop-bare":   "go build -ldflags=-s -o FILE ./test/leaks/programs/shop",
	"churn":       "go build -o FILE ./test/leaks/programs/churn",
}

// waiting is for tests that wait for the network's answers most of the time.
const waiting = 32

func everything() bool { return os.Getenv("CONNPROF_VM_ALL") != "" }

// on tells whether a package's tests run under that kernel.
func (p testPackage) on(version string) bool {
	return len(p.kernels) == 0 || slices.Contains(p.kernels, version) || everything()
}

// skipped are the tests that do not run under that kernel.
func (p testPackage) skipped(version string) string {
	skip := []string{p.skip, p.once}
	if version == onceOn || everything() {
		skip = skip[:1]
	}
	return strings.Join(slices.DeleteFunc(skip, func(s string) bool { return s == "" }), "|")
}

// mainJobs are the values of --hooks that the main job is made with. By kprobe is what auto comes to on every kernel of the
// matrix, and the packages' own tests force that rung on each.
func mainJobs(version string) []kernel.HookKind {
	if version == onceOn || everything() {
		return kernel.HookChoices
	}
	return slices.DeleteFunc(slices.Clone(kernel.HookChoices), func(h kernel.HookKind) bool { return h == kernel.KindKprobe })
}

// longestFirst has the kernel that more is asked of not be the last one that is waited for.
func longestFirst(versions []string) []string {
	sorted := slices.Clone(versions)
	slices.SortStableFunc(sorted, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == onceOn:
			return -1
		case b == onceOn:
			return 1
		}
		return 0
	})
	return sorted
}
