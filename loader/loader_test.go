package loader

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

func load(t testing.TB, c Config) *Probes {
	t.Helper()
	p, err := Load(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestEveryHookIsAttachedAndSaysHow(t *testing.T) {
	p := load(t, Config{})
	var names []string
	for _, h := range p.Hooks() {
		names = append(names, string(h.Name))
		if !h.Attached || h.Kind == "" || h.Function == "" {
			t.Errorf("hook %+v", h)
		}
	}
	if got := strings.Join(names, " "); got != "connect accept state destroy slab walk" {
		t.Errorf("hooks %s", got)
	}
}

func TestFallBackNamesWhatIsMissing(t *testing.T) {
	p := load(t, Config{})
	value, known := kernel.ConfigOption("CONFIG_KPROBES")
	for _, h := range p.Hooks()[:2] {
		switch {
		case known && value == "n":
			if h.Kind == kernel.KindKprobe || !strings.Contains(h.Note, "CONFIG_KPROBES is not set") {
				t.Errorf("%+v on a kernel without CONFIG_KPROBES", h)
			}
		case h.Kind == kernel.KindKprobe && h.Note != "":
			t.Errorf("%+v: the first rung has nothing to explain", h)
		case h.Kind != kernel.KindKprobe && h.Note == "":
			t.Errorf("%+v does not say why it is no kprobe", h)
		}
	}
}

func TestCloseLeavesNoProgramInTheKernel(t *testing.T) {
	p, err := Load(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []ebpf.ProgramID
	for _, c := range p.collections {
		for name, prog := range c.Programs {
			info, err := prog.Info()
			if err != nil {
				t.Fatal(err)
			}
			id, ok := info.ID()
			if !ok {
				t.Fatalf("program %s has no id", name)
			}
			ids = append(ids, id)
		}
	}
	if len(ids) < 5 {
		t.Fatalf("%d programs are loaded: the test would prove nothing", len(ids))
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			prog, err := ebpf.NewProgramFromID(id)
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err == nil {
				prog.Close()
			}
			if time.Now().After(end) {
				t.Fatalf("program %d is still in the kernel (%v)", id, err)
			}
		}
	}
}

func TestUnknownRungIsRefused(t *testing.T) {
	_, err := Load(Config{Force: "nonsense"})
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Errorf("error %v, want a MissingError", err)
	}
}

func TestMapsAreCharged(t *testing.T) {
	p := load(t, Config{RingBytes: 1 << 20})
	small, err := p.MapBytes()
	if err != nil {
		t.Fatal(err)
	}
	q := load(t, Config{RingBytes: 8 << 20})
	large, err := q.MapBytes()
	if err != nil {
		t.Fatal(err)
	}
	if d := large - small; d < 7<<20 || d > 8<<20 {
		t.Errorf("maps of %d and %d bytes with rings of 1 and 8 MiB", small, large)
	}
}

type recorder struct {
	opened, accepted, closed, failed []kernel.EndpointEvent
	samples                          []kernel.StackSample
}

func (r *recorder) Opened(e kernel.EndpointEvent)   { r.opened = append(r.opened, e) }
func (r *recorder) Accepted(e kernel.EndpointEvent) { r.accepted = append(r.accepted, e) }
func (r *recorder) Closed(e kernel.EndpointEvent)   { r.closed = append(r.closed, e) }
func (r *recorder) Failed(e kernel.EndpointEvent)   { r.failed = append(r.failed, e) }
func (r *recorder) Sampled(s kernel.StackSample)    { r.samples = append(r.samples, s) }

func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

func TestRecordsOfTheRingBecomeEvents(t *testing.T) {
	r := &recorder{}
	for _, kind := range []bpf.StateEventKind{bpf.StateEventKindEVENT_OPEN, bpf.StateEventKindEVENT_ACCEPT,
		bpf.StateEventKindEVENT_CLOSE, bpf.StateEventKindEVENT_FAIL} {
		e := bpf.StateEndpointEvent{Nanoseconds: 5, Sk: 0xffff8880_00001000, Pid: 42, Kind: kind,
			Role: bpf.StateRoleROLE_SERVER}
		if err := dispatch(bytesOf(&e), r); err != nil {
			t.Fatal(err)
		}
	}
	want := kernel.EndpointEvent{Nanoseconds: 5, Sock: 0xffff8880_00001000, PID: 42, Role: kernel.RoleServer}
	for _, got := range [][]kernel.EndpointEvent{r.opened, r.accepted, r.closed, r.failed} {
		if len(got) != 1 || got[0] != want {
			t.Errorf("events %+v, want one %+v", got, want)
		}
	}
	s := bpf.SlabStackEvent{CallSite: 7, Cache: 8, Weight: 9, Kind: uint8(bpf.StateEventKindEVENT_STACK), Atomic: 1, Depth: 2}
	s.Frames[0], s.Frames[1] = 100, 200
	if err := dispatch(bytesOf(&s), r); err != nil {
		t.Fatal(err)
	}
	if len(r.samples) != 1 || len(r.samples[0].Frames) != 2 || r.samples[0].Frames[1] != 200 || !r.samples[0].Atomic {
		t.Errorf("samples %+v", r.samples)
	}
}

func TestRecordsThatDoNotFitAreErrors(t *testing.T) {
	odd := bpf.StateEndpointEvent{Kind: 200}
	short := bpf.SlabStackEvent{Kind: uint8(bpf.StateEventKindEVENT_STACK)}
	for name, raw := range map[string][]byte{"empty": nil, "cut off": make([]byte, 8), "unknown kind": bytesOf(&odd),
		"short stack": bytesOf(&short)[:64]} {
		if err := dispatch(raw, &recorder{}); err == nil || !strings.Contains(err.Error(), "do not fit") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestWalkRecordsKeepAddressesAndPorts(t *testing.T) {
	r := bpf.WalkEndpointRecord{Family: unix.AF_INET, State: 1, LocalPort: 8090, RemotePort: 1024,
		Netns: 4026531840, File: 7,
		Binding:   bpf.WalkBindingBIND_SOLE | bpf.WalkBindingBIND_LOCKED,
		Flags:     bpf.WalkEndpointFlagsWALK_TRUNCATED | bpf.WalkEndpointFlagsWALK_V6ONLY,
		RmemAlloc: 10, WmemQueued: 20, ForwardAlloc: -4096, Backlog: 30, OmemAlloc: 40}
	copy(r.Local[:], []byte{198, 18, 0, 1})
	copy(r.Remote[:], []byte{198, 18, 1, 2})
	r.Objects[kernel.Epitem] = 3
	var e kernel.Endpoint
	fill(&e, &r)
	if e.Local.String() != "198.18.0.1:8090" || e.Remote.String() != "198.18.1.2:1024" {
		t.Errorf("%s to %s", e.Local, e.Remote)
	}
	if !e.BindSole || e.Bind2Sole || !e.BindLocked || e.BindByConnect || !e.Truncated || !e.V6Only || e.Dead || e.Cloned ||
		e.Netns != 4026531840 || e.File != 7 || e.Objects[kernel.Epitem] != 3 || e.Buffers.Bytes() != 100 {
		t.Errorf("%+v", e)
	}
	r.Family = unix.AF_INET6
	fill(&e, &r)
	if !e.Local.Addr().Is6() {
		t.Errorf("%s is no IPv6 address", e.Local)
	}
}

func TestRecordsThatArriveInPiecesAreReadWhole(t *testing.T) {
	const n = 1000
	var stream []byte
	for i := range n {
		r := bpf.WalkEndpointRecord{Sk: uint64(i), Family: unix.AF_INET}
		stream = append(stream, bytesOf(&r)...)
	}
	for _, piece := range []int{1, 7, recordBytes, recordBytes + 1, 4096, chunkBytes(recordBytes)} {
		next := uint64(0)
		err := readRecords(&pieces{stream, piece}, recordBytes, false, (&Probes{}).visitor(func(e *kernel.Endpoint) error {
			if e.Sock != next {
				t.Fatalf("pieces of %d: endpoint %d, want %d", piece, e.Sock, next)
			}
			next++
			return nil
		}))
		if err != nil || next != n {
			t.Errorf("pieces of %d: %d endpoints, error %v", piece, next, err)
		}
	}
	if err := readRecords(&pieces{stream[:recordBytes+5], 64}, recordBytes, false, func([]byte) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: error %v", err)
	}
	stop := errors.New("enough")
	if err := readRecords(&pieces{stream, 64}, recordBytes, false, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: error %v", err)
	}
}

// pieces is a reader that gives at most size bytes at a time.
type pieces struct {
	left []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left[:min(p.size, len(p.left))])
	p.left = p.left[n:]
	return n, nil
}

func BenchmarkDispatch(b *testing.B) {
	e := bpf.StateEndpointEvent{Sk: 1, Kind: bpf.StateEventKindEVENT_OPEN}
	raw := bytesOf(&e)
	var h counter
	for b.Loop() {
		_ = dispatch(raw, &h)
	}
}

type counter struct{ n int }

func (c *counter) Opened(kernel.EndpointEvent)   { c.n++ }
func (c *counter) Accepted(kernel.EndpointEvent) { c.n++ }
func (c *counter) Closed(kernel.EndpointEvent)   { c.n++ }
func (c *counter) Failed(kernel.EndpointEvent)   { c.n++ }
func (c *counter) Sampled(kernel.StackSample)    { c.n++ }
