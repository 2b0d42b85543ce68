package account

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// sampleKey is what makes two samples the same; frames are the raw addresses as bytes.
type sampleKey struct {
	callSite, cache uint64
	role            kernel.Role
	atomic          bool
	arranged        bool // taken while the scenario was arranged
	frames          string
}

type sampleSum struct {
	weight, count uint64
}

type samples map[sampleKey]*sampleSum

func (m samples) add(s kernel.StackSample, arranged bool) {
	key := sampleKey{callSite: s.CallSite, cache: s.Cache, role: s.Role, atomic: s.Atomic, arranged: arranged}
	key.frames = unsafe.String((*byte)(unsafe.Pointer(unsafe.SliceData(s.Frames))), 8*len(s.Frames))
	sum := m[key]
	if sum == nil {
		key.frames = strings.Clone(key.frames) // the sample's memory is reused
		sum = &sampleSum{}
		m[key] = sum
	}
	sum.weight += uint64(s.Weight)
	sum.count++
}

func (k sampleKey) addresses() []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.StringData(k.frames))), len(k.frames)/8)
}

// path is one allocation path in names.
type path struct {
	role   kernel.Role
	kind   kernel.ObjectType
	frames string // root first, separated by newlines
}

type pathSum struct {
	weight, count uint64
}

// resolve turns the samples of objects that endpoints hold into named paths.
func (m samples) resolve(caches *Caches, symbols *kernel.Symbols, arranged bool) (map[path]pathSum, int) {
	paths := map[path]pathSum{}
	total := 0
	for key, sum := range m {
		total += int(sum.count)
		site := kernel.Site{CallSite: key.callSite, Cache: key.cache, Atomic: key.atomic, Role: key.role}
		kind, ok := caches.typeOfSample(symbols.Function(key.callSite), site)
		if !ok {
			continue
		}
		frames := trimTracing(names(key.addresses(), symbols))
		received, frames := cutAtSoftirq(frames)
		slices.Reverse(frames)
		p := path{roleOf(kind, site, received, frames), kind, strings.Join(frames, "\n")}
		if isShared(kind) {
			p.role = kernel.RoleUnknown
		}
		if isBuffer(kind) {
			if key.arranged != arranged || slices.ContainsFunc(frames, func(f string) bool { return neverQueued[f] }) {
				continue
			}
			p.role = kernel.RoleUnknown
		}
		s := paths[p]
		paths[p] = pathSum{s.weight + sum.weight, s.count + sum.count}
	}
	return paths, total
}

// isBuffer tells whether an object holds queued data. On one host the sender allocates it and the receiver's queue holds
// it, so its paths are those of both ends.
func isBuffer(kind kernel.ObjectType) bool {
	return kind == kernel.SKBuff || kind == kernel.SKBuffFclones || kind == kernel.SKBHead
}

// isShared tells whether one object is that of both ends of a connection on one host, whichever of them allocated it.
func isShared(kind kernel.ObjectType) bool { return kind == kernel.NFConn || kind == kernel.NFConnExt }

// neverQueued are functions that make segments without data or FIN (net/ipv4/tcp_output.c): no queue keeps them.
var neverQueued = map[string]bool{"__tcp_send_ack": true, "tcp_send_ack": true, "tcp_make_synack": true,
	"tcp_send_active_reset": true, "tcp_xmit_probe_skb": true}

// typeOfSample is TypeOf for a sample, which does not say whether its cache is a size: only addresses are large.
func (c *Caches) typeOfSample(function string, s kernel.Site) (kernel.ObjectType, bool) {
	const smallestAddress = 1 << 32
	if s.Cache < smallestAddress {
		s.Sized = true
		if kind, ok := c.TypeOf(function, s); ok {
			return kind, true
		}
		s.Kmalloc = true
	}
	return c.TypeOf(function, s)
}

func names(addresses []uint64, symbols *kernel.Symbols) []string {
	out := make([]string, len(addresses))
	for i, a := range addresses {
		// A return address may lie just past a call that ends its function.
		out[i] = symbols.Function(a - 1)
	}
	return out
}

// trimTracing drops the leaf frames that are the probe itself: everything up to the tracepoint's own function.
func trimTracing(leafFirst []string) []string {
	cut := 0
	for i, f := range leafFirst[:min(len(leafFirst), 10)] {
		if strings.HasPrefix(f, "bpf_") || strings.HasPrefix(f, "__bpf_") || strings.HasPrefix(f, "__traceiter_") ||
			strings.HasPrefix(f, "trace_") {
			cut = i + 1
		}
	}
	return leafFirst[cut:]
}

// cutAtSoftirq cuts off what lies below the softirq in which a packet was received. On loopback that is the sender's
// own system call: it belongs to the other end.
func cutAtSoftirq(leafFirst []string) (received bool, frames []string) {
	for i, f := range leafFirst {
		if f == "handle_softirqs" || f == "__do_softirq" {
			return true, leafFirst[:i+1]
		}
	}
	return false, leafFirst
}

// roleOf decides which end a sampled object belongs to: what is made while a packet is received is the accepted
// end's; else it is the task's, or, for a task not known to be a load process, what the system call tells.
func roleOf(kind kernel.ObjectType, s kernel.Site, received bool, rootFirst []string) kernel.Role {
	if received && kernel.Types[kind].FromSoftirq {
		return kernel.RoleServer
	}
	if s.Role != kernel.RoleUnknown {
		return s.Role
	}
	for _, f := range rootFirst {
		switch {
		case strings.Contains(f, "accept"):
			return kernel.RoleServer
		case strings.Contains(f, "connect"), strings.HasSuffix(f, "sys_socket"), strings.HasSuffix(f, "sys_bind"):
			return kernel.RoleClient
		}
	}
	return kernel.RoleUnknown
}

// notSampled stands for the path of objects of which no sample was taken.
const notSampled = "(no stack sampled)"

// scaledStacks scales the sampled paths of each role and type to what the walk found, to the byte.
func scaledStacks(rows []recording.EndpointRow, paths map[path]pathSum) []recording.Stack {
	type group struct {
		role kernel.Role
		kind string
	}
	byGroup := map[group][]recording.Stack{}
	buffers := map[string][]recording.Stack{}
	for p, sum := range paths {
		if isBuffer(p.kind) || isShared(p.kind) {
			kind := p.kind.String()
			buffers[kind] = append(buffers[kind], recording.Stack{Type: kind, Samples: int(sum.count), Bytes: sum.weight,
				Frames: strings.Split(p.frames, "\n")})
			continue
		}
		g := group{p.role, p.kind.String()}
		byGroup[g] = append(byGroup[g], recording.Stack{Role: g.role, Type: g.kind, Samples: int(sum.count), Bytes: sum.weight,
			Frames: strings.Split(p.frames, "\n")})
	}
	stacks := []recording.Stack{}
	done := map[group]bool{}
	for _, r := range rows {
		for _, o := range r.Objects {
			g := group{r.Role, o.Type}
			if done[g] {
				continue
			}
			done[g] = true
			count, bytes := groupTotals(rows, g.role, g.kind)
			group := byGroup[g]
			for _, s := range buffers[g.kind] {
				s.Role = g.role
				group = append(group, s)
			}
			if len(group) == 0 {
				group = []recording.Stack{{Role: g.role, Type: g.kind, Bytes: 1, Frames: []string{notSampled}}}
			}
			stacks = append(stacks, scale(group, o.Cache, count, bytes)...)
		}
	}
	return stacks
}

func groupTotals(rows []recording.EndpointRow, role kernel.Role, kind string) (count int, bytes uint64) {
	for _, r := range rows {
		for _, o := range r.Objects {
			if r.Role == role && o.Type == kind {
				count += o.Count
				bytes += o.PageBytes
			}
		}
	}
	return count, bytes
}

// scale shares count and bytes out by the weights that the stacks bring in Bytes. The remainders of rounding go to
// the last one, so that the sums are exact.
func scale(stacks []recording.Stack, cache string, count int, bytes uint64) []recording.Stack {
	slices.SortFunc(stacks, func(a, b recording.Stack) int {
		return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), slices.Compare(a.Frames, b.Frames))
	})
	var total float64
	for _, s := range stacks {
		total += float64(s.Bytes)
	}
	countLeft, bytesLeft := count, bytes
	for i := range stacks {
		s := &stacks[i]
		part := float64(s.Bytes) / total
		s.Cache = cache
		s.Count, s.Bytes = int(part*float64(count)), uint64(part*float64(bytes))
		if i == len(stacks)-1 {
			s.Count, s.Bytes = countLeft, bytesLeft
		}
		countLeft -= s.Count
		bytesLeft -= s.Bytes
	}
	slices.Reverse(stacks)
	return stacks
}

// stackQuality is what sampling leaves uncertain. A path with a share p of a type of which n samples were taken has a
// standard error of √(p(1−p)/n) of the type's bytes (binomial distribution); errors of different paths add in squares.
func stackQuality(stacks []recording.Stack) (errorRatio, symbolisedRatio float64) {
	type group struct {
		role kernel.Role
		kind string
	}
	bytes, samples := map[group]float64{}, map[group]float64{}
	total, named := 0.0, 0.0
	for _, s := range stacks {
		g := group{s.Role, s.Type}
		bytes[g] += float64(s.Bytes)
		samples[g] += float64(s.Samples)
		total += float64(s.Bytes)
		if s.Samples > 0 && !slices.ContainsFunc(s.Frames, func(f string) bool { return strings.HasPrefix(f, "0x") }) {
			named += float64(s.Bytes)
		}
	}
	if total == 0 {
		return 0, 0
	}
	variance := 0.0
	for _, s := range stacks {
		g := group{s.Role, s.Type}
		if samples[g] > 0 && bytes[g] > 0 {
			p := float64(s.Bytes) / bytes[g]
			variance += bytes[g] * bytes[g] * p * (1 - p) / samples[g]
		}
	}
	return math.Sqrt(variance) / total, named / total
}
