package measure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/account"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
	"github.com/connprof/connprof/test/check"
)

func TestMain(m *testing.M) {
	load.WorkerMain()
	badLuckMain()
	if n, err := strconv.Atoi(os.Getenv(plainEnv)); err == nil {
		if err := plainSockets(n); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// plainEnv turns the test binary into the program below; its value is the number of connections.
const plainEnv = "CONNPROF_TEST_PLAIN_SOCKETS"

const plainReady = "ready"

// plainSockets is a program that knows nothing of connprof: on each line of standard input it opens n connections to
// itself with plain blocking calls, answers a line, and keeps them until the input ends.
func plainSockets(n int) error {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	to := &unix.SockaddrInet4{Port: 7777, Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.Bind(listener, to), unix.Listen(listener, 128)); err != nil {
		return err
	}
	input := bufio.NewScanner(os.Stdin)
	fmt.Println(plainReady)
	for input.Scan() {
		for range n {
			client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			if err := unix.Connect(client, to); err != nil {
				return err
			}
			if _, _, err := unix.Accept(listener); err != nil {
				return err
			}
		}
		fmt.Println(plainReady)
	}
	return nil
}

// plain is the program, running in a namespace, and probes that watch it.
type plain struct {
	t       *testing.T
	network *netcfg.Private
	input   io.WriteCloser
	output  *bufio.Reader
	probes  *loader.Probes
	ledger  *account.Ledger
	stop    context.CancelFunc
	drained chan error
	after   account.Snapshot // taken by account
}

func startPlain(t *testing.T, connections int, config loader.Config) *plain {
	t.Helper()
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 2 * connections})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	p := &plain{t: t, network: network, ledger: account.NewLedger(2 * connections), drained: make(chan error, 1)}
	p.startProgram(connections)
	config.Scope = loader.InNetns(network.Inode())
	if p.probes, err = loader.Load(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.probes.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.drained <- p.probes.Drain(ctx, p.ledger) }()
	return p
}

func (p *plain) startProgram(connections int) {
	p.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", plainEnv, connections))
	cmd.Stderr = os.Stderr
	var err error
	if p.input, err = cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.output = bufio.NewReader(output)
	if err := p.network.Start(cmd); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.input.Close(); _ = cmd.Wait() })
	p.answer()
}

func (p *plain) answer() {
	p.t.Helper()
	if line, err := p.output.ReadString('\n'); strings.TrimSpace(line) != plainReady {
		p.t.Fatalf("the plain program says %q (%v)", line, err)
	}
}

// open has the program open its connections once more.
func (p *plain) open() {
	p.t.Helper()
	if _, err := io.WriteString(p.input, "open\n"); err != nil {
		p.t.Fatal(err)
	}
	p.answer()
}

// readSymbols reads them once for all tests: reading is half of what a small test takes, and no kernel function moves.
var readSymbols = sync.OnceValues(kernel.ReadSymbols)

// account ends the trace, walks, and fills a recording.
func (p *plain) account(before account.Snapshot) (*recording.Machine, loader.Counters) {
	p.t.Helper()
	p.stop()
	if err := <-p.drained; err != nil {
		p.t.Fatal(err)
	}
	after, err := ReadSlabs()
	if err != nil {
		p.t.Fatal(err)
	}
	p.after = after
	symbols, err := readSymbols()
	if err != nil {
		p.t.Fatal(err)
	}
	sites, _, err := p.probes.Sites()
	if err != nil {
		p.t.Fatal(err)
	}
	byAddress, err := p.probes.Caches()
	if err != nil {
		p.t.Fatal(err)
	}
	caches := account.NewCaches(after.Slabs, kernel.Aliases("/sys/kernel/slab", after.Slabs), byAddress, sites, symbols)
	counters, err := p.probes.Counters()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.probes.Walk(func(e *kernel.Endpoint) error {
		p.ledger.Visit(e, caches)
		return nil
	}, p.network); err != nil {
		p.t.Fatal(err)
	}
	rec := &recording.Machine{}
	p.ledger.Fill(rec, account.Evidence{Before: before, After: after, Caches: caches, Sites: sites, Symbols: symbols,
		ClientOpens: int(counters.ClientEstablished), ServerOpens: int(counters.ServerEstablished)})
	return rec, counters
}

// kernelCount is how many sockets of the namespace the kernel itself lists as ESTABLISHED in /proc/net/tcp.
func (p *plain) kernelCount() int {
	p.t.Helper()
	n := 0
	if err := p.network.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/tcp")
		for _, line := range strings.Split(string(b), "\n") {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "01" {
				n++
			}
		}
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// checkPlain holds a recording of n plain connections against what is known of them.
func checkPlain(t *testing.T, rec *recording.Machine, n int) {
	t.Helper()
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		endpoints, objects := check.Objects(rec, role, "ESTABLISHED")
		if endpoints != n {
			t.Errorf("%d %s endpoints, want %d", endpoints, role, n)
		}
		for _, kind := range []string{"tcp_sock", "socket_alloc", "file", "dentry"} {
			if objects[kind] != n {
				t.Errorf("%s: %d of %s, want %d", role, objects[kind], kind, n)
			}
		}
		for _, kind := range []string{"epitem", "eppoll_entry", "epitems_head", "tcp_request_sock"} {
			if objects[kind] != 0 {
				t.Errorf("%s: %d of %s on sockets that are in no epoll set", role, objects[kind], kind)
			}
		}
	}
	if listeners, objects := check.Objects(rec, kernel.RoleListener, "LISTEN"); listeners != 1 || objects["tcp_sock"] != 1 {
		t.Errorf("%d listeners with %v, want one", listeners, objects)
	}
}

func TestPlainSocketsOfAnotherProgramAreCountedExactly(t *testing.T) {
	const n = 2000
	p := startPlain(t, n, loader.Config{SampleInterval: 32})
	before, err := ReadSlabs()
	if err != nil {
		t.Fatal(err)
	}
	p.open()
	if got := p.kernelCount(); got != 2*n {
		t.Fatalf("the kernel lists %d ESTABLISHED sockets, want %d: the test's own program is wrong", got, 2*n)
	}
	rec, counters := p.account(before)
	checkPlain(t, rec, n)
	as := func(got uint64) bool { return check.Short(int(got), n, int(counters.RecursionMisses)) }
	if !as(counters.ClientEstablished) || !as(counters.ServerEstablished) || !as(counters.SynSent) {
		t.Errorf("the state hook saw %d and %d ends and %d connects, want %d of each", counters.ClientEstablished,
			counters.ServerEstablished, counters.SynSent, n)
	}
	for _, c := range rec.Reconcile.Caches {
		if c.Cache != "TCP" || !check.Quiet {
			continue
		}
		// Under SLUB the free objects of slabs that a CPU has taken count as active, before and after.
		if d := c.SlabinfoDeltaObjects - 2*n; d < -n/5 || d > n/5 {
			t.Errorf("slabinfo: TCP grew by %d objects, want about %d", c.SlabinfoDeltaObjects, 2*n)
		}
	}
}

func TestEveryRungOfTheLadderGivesTheSameAccount(t *testing.T) {
	const n = 200
	for _, kind := range kernel.HookChoices[1:] {
		t.Run(string(kind), func(t *testing.T) {
			if !offered(t, kind) {
				return
			}
			p := startPlain(t, n, loader.Config{Force: kind, SampleInterval: 32})
			p.open()
			rec, counters := p.account(account.Snapshot{})
			checkPlain(t, rec, n)
			if kind == kernel.KindTracepoint {
				return
			}
			as := func(got uint64) bool { return check.Short(int(got), n, int(counters.RecursionMisses)) }
			if !as(counters.ConnectCalls) || !as(counters.Accepts) {
				t.Errorf("%s: %d connects and %d accepts, want %d of each", kind, counters.ConnectCalls, counters.Accepts, n)
			}
		})
	}
}

// offered tells whether the kernel offers a rung; where it does not, it checks that forcing it says so.
func offered(t *testing.T, kind kernel.HookKind) bool {
	t.Helper()
	p, err := loader.Load(loader.Config{Scope: loader.InNetns(1), Force: kind})
	if err == nil {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		return true
	}
	var missing *loader.MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "--hooks "+string(kind)) {
		t.Errorf("refused with %q, want a MissingError that names --hooks", err)
	}
	_, statErr := os.Stat("/sys/bus/event_source/devices/kprobe")
	if kind == kernel.KindTracepoint || kind == kernel.KindKprobe && statErr == nil {
		t.Errorf("the kernel has %s and yet: %v", kind, err)
	}
	t.Logf("not offered here: %v", err)
	return false
}

func TestFullRingIsCountedAndTheAccountStaysExact(t *testing.T) {
	const n = 2000
	p := startPlain(t, n, loader.Config{SampleInterval: 4, RingBytes: os.Getpagesize()})
	p.open()
	rec, counters := p.account(account.Snapshot{})
	if counters.RingFull == 0 {
		t.Error("a ring of one page took everything: the test would prove nothing")
	}
	checkPlain(t, rec, n)
}

func TestOtherNamespacesDoNotCount(t *testing.T) {
	const n = 100
	watched := startPlain(t, n, loader.Config{SampleInterval: 32})
	other := &plain{t: t, network: newNetwork(t)}
	other.startProgram(n)
	other.open()
	watched.open()
	rec, counters := watched.account(account.Snapshot{})
	checkPlain(t, rec, n)
	if counters.ClientEstablished != n || counters.ServerEstablished != n {
		t.Errorf("the probes saw %d and %d ends, want %d", counters.ClientEstablished, counters.ServerEstablished, n)
	}
}

func newNetwork(t *testing.T) *netcfg.Private {
	t.Helper()
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	return network
}
