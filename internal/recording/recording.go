// Package recording is the file that a command leaves: its types, how it is written, and how it is read, older schemas among
// them. It imports package kernel only. Account fills it in, report reads it.
package recording

import (
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// Schema names the version of the recording format that this program writes. It reads that and schema 1.
const Schema = "connprof.recording/2"

// Recording is everything that one command found out. Every report is made from it and from nothing else.
// Sizes are bytes and times are seconds unless a name says otherwise.
type Recording struct {
	Schema  string    `json:"schema"`
	Created time.Time `json:"created"`
	Version string    `json:"version"` // of the connprof that wrote it
	Command []string  `json:"command"`
	Kind    Kind      `json:"kind"`
	// Interrupted is why a run or a record ended early; empty when it did not.
	Interrupted string `json:"interrupted,omitempty"`
	// Machines are those that measured, at least one: the accepting end's after the connecting end's.
	Machines []*Machine `json:"machines"`
}

// Kind is which command made a recording.
type Kind string

// The kinds of recordings.
const (
	KindRun      Kind = "run"
	KindSnapshot Kind = "snapshot"
	KindRecord   Kind = "record"
)

// Machine is what one machine measured. Two of one recording that have the same Host.Boot are the two ends on one kernel: the
// first's Reconcile is then of both, and the second has none.
type Machine struct {
	Name string `json:"name"` // the host's; empty where only one machine took part
	// Version is that of the connprof on this machine, where it is not the recording's.
	Version string `json:"version,omitempty"`
	// Command is what was run on this machine, where it is not the recording's.
	Command []string `json:"command,omitempty"`
	// Interrupted is why this machine's part ended early, where the recording's Interrupted does not say it.
	Interrupted string `json:"interrupted,omitempty"`
	// Notes are sentences about anything that limits how far the figures can be trusted.
	Notes []string `json:"notes"`
	Host  Host     `json:"host"`
	Hooks []Hook   `json:"hooks"`
	// Load is what connprof opened, nil where it opened nothing.
	Load *Load `json:"load,omitempty"`
	// Endpoints has one row for each role and state, costliest role first.
	Endpoints []EndpointRow `json:"endpoints"`
	// Groups divides the same endpoints by who has them, nil where that was not asked for. Their counts and bytes add up to
	// those of Endpoints. Costliest first.
	Groups []Group `json:"groups,omitempty"`
	// Look is what only a look at a running host has, nil in a run.
	Look *Look `json:"look,omitempty"`
	// Record, Openers and Locations are what a record has beside a look: what was opened and closed, by which code, costliest first,
	// and the places in code that Openers refer to.
	Record    *Record    `json:"record,omitempty"`
	Openers   []Opener   `json:"openers,omitempty"`
	Locations []Location `json:"locations,omitempty"`
	// Books is nil where the kernel's own figures for the whole host were not read.
	Books *Books `json:"books,omitempty"`
	// Addresses says how many endpoints of each role the kernel holds on each local address.
	Addresses []AddressRow `json:"addresses,omitempty"`
	// ClientPorts is nil where there is no connecting end.
	ClientPorts *ClientPorts `json:"client_ports,omitempty"`
	// Plan is what the connections were expected to need of each limit that binds them, by the cost of the batch.
	Plan []PlanRow `json:"plan,omitempty"`
	// Stays is what slab memory held after the close, nil where that was not asked for.
	Stays *Stays `json:"stays,omitempty"`
	// Cycles is what opening and closing several times made it grow by, nil where that was not asked for.
	Cycles *Cycles `json:"cycles,omitempty"`
	// Trace and Reconcile are nil where nothing was profiled.
	Trace     *Trace        `json:"trace,omitempty"`
	Reconcile *Reconcile    `json:"reconcile,omitempty"`
	Top       []TopEndpoint `json:"top"`
	Losses    Losses        `json:"losses"`
	Cost      Cost          `json:"cost"`
	Stacks    []Stack       `json:"stacks"`
	Sampling  *Sampling     `json:"sampling,omitempty"`
}

// Profiled tells whether the machine made an account: connprof run --no-profile makes none.
func (m *Machine) Profiled() bool { return len(m.Hooks) > 0 || len(m.Endpoints) > 0 }

// CountIn is how many endpoints of a role are in a state.
func (m *Machine) CountIn(role kernel.Role, state string) int {
	n := 0
	for _, row := range m.Endpoints {
		if row.Role == role && row.State == state {
			n += row.Count
		}
	}
	return n
}

// End is which end of the connections the machine has; RoleBoth where it has both, or opened none.
func (m *Machine) End() kernel.Role {
	if m.Load == nil {
		return kernel.RoleBoth
	}
	return m.Load.End
}

// PlanRow is one limit held against what the run needs of it. Bytes where Unit says so, else a count.
type PlanRow struct {
	Limit   string `json:"limit"`
	Where   string `json:"where"` // the sysctl or file that sets it
	Unit    string `json:"unit"`
	Need    uint64 `json:"need"`
	Have    uint64 `json:"have"`
	Verdict string `json:"verdict"` // ok, or warns: it slows or disturbs, and stops none
}

// Host is the kernel that was measured, and the hardware under it.
type Host struct {
	Boot        string `json:"boot,omitempty"` // the kernel's boot_id, which tells one running kernel from all others
	Kernel      string `json:"kernel"`         // uname -r
	CPUs        int    `json:"cpus"`           // online
	MemoryBytes uint64 `json:"memory_bytes"`   // MemTotal
	Machine     string `json:"machine"`        // uname -m
}

// Hook is one hook point and the rung of the attach ladder it got.
type Hook struct {
	Name     kernel.HookName `json:"name"`     // connect, accept, state, destroy, slab, walk
	Function string          `json:"function"` // the kernel function, tracepoint or iterator
	Kind     kernel.HookKind `json:"kind"`     // kprobe | fentry | tracepoint | iterator | syscall
	Attached bool            `json:"attached"`
	Note     string          `json:"note"` // why a better rung is not available
	// Hits is how often it fired for a socket or task of the run. Hooks on a function count its calls: a connect()
	// that fails before SYN_SENT is a hit of theirs, and none of a tracepoint's.
	Hits uint64 `json:"hits"`
}

// Load is what the load engine did.
type Load struct {
	// End is which end was made on this machine: client, server or both.
	End      kernel.Role `json:"end"`
	Scenario string      `json:"scenario"`
	// ClientState and ServerState are the states that the scenario holds the ends in. Both are empty where it opens no connection,
	// and in recordings from before these fields; one is where the scenario leaves no such end.
	ClientState     string `json:"client_state,omitempty"`
	ServerState     string `json:"server_state,omitempty"`
	ClientAddresses int    `json:"client_addresses"`
	ServerPorts     int    `json:"server_ports"`
	// PayloadBytes is what was to be sent over each connection, 0 where the scenario sends no payload. UnreadBytes is data that lies in
	// the receive queues of the ends on this machine, and UnackedBytes data in their send queues, both by the walk: 0 without a profile.
	PayloadBytes uint64 `json:"payload_bytes,omitempty"`
	UnreadBytes  uint64 `json:"unread_bytes,omitempty"`
	UnackedBytes uint64 `json:"unacked_bytes,omitempty"`
	Requested    int    `json:"requested"`
	// Capped is the limit that set Requested where no number was asked for, empty where ips x ports x 50,000 fit.
	Capped string `json:"capped,omitempty"`
	// ExpectedBytes is what a connection was expected to cost in slab pages, both ends, by the batch.
	ExpectedBytes     uint64  `json:"expected_bytes,omitempty"`
	Established       int     `json:"established"` // up on both ends when measured
	Failed            int     `json:"failed"`
	ConnectSeconds    float64 `json:"connect_seconds"` // first connect() to last ESTABLISHED
	ConnectsPerSecond float64 `json:"connects_per_second"`
	// ConnectCPUSeconds is the CPU time that connprof and the load's processes took meanwhile, what softirqs did in their
	// name included.
	ConnectCPUSeconds float64 `json:"connect_cpu_seconds,omitempty"`
	// FirstConnectSeconds is from the command's start to the first connect().
	FirstConnectSeconds float64 `json:"first_connect_seconds"`
	HoldSeconds         float64 `json:"hold_seconds"`
	// Tracked is how many entries connection tracking had in the run's network when all was measured.
	Tracked int `json:"tracked,omitempty"`
	// LostInHold is how many connections were no longer ESTABLISHED when the hold ended.
	LostInHold int             `json:"lost_in_hold"`
	Failures   []Failure       `json:"failures"`
	Timeline   []TimelinePoint `json:"timeline"`
	// ProcessRSSBytes is the user-space memory of both load processes when all was up.
	ProcessRSSBytes uint64 `json:"process_rss_bytes"`
	ServerCost
	// ComparedWith is the same with the other model of server, where that was asked for.
	ComparedWith *Comparison `json:"compared_with,omitempty"`
	// Server is the accepting end where that was a program of somebody else's.
	Server *Server `json:"server,omitempty"`
	// Exchange is what was said on the connections, nil for nothing.
	Exchange *Exchange `json:"exchange,omitempty"`
}

// StepScenario is the step of a connection that is up and not in the scenario.
const StepScenario = "scenario"

// Failure is one reason why connections were not established, or did not get into the scenario.
type Failure struct {
	Step  string `json:"step"`  // socket, bind, connect, accept, epoll_ctl, ..., scenario
	Error string `json:"error"` // the kernel's error, as strerror gives it; of a scenario also what is there instead
	Count int    `json:"count"`
}

// TimelinePoint is one sample taken while the run went on.
type TimelinePoint struct {
	Seconds     float64 `json:"seconds"` // since the command started
	Established int     `json:"established"`
	SlabBytes   uint64  `json:"slab_bytes"` // Slab in /proc/meminfo
}

// EndpointRow sums all endpoints of one role in one state.
type EndpointRow struct {
	Role        kernel.Role `json:"role"`  // client | server | listener | unknown
	State       string      `json:"state"` // the kernel's name: ESTABLISHED, FIN_WAIT2, ...
	Count       int         `json:"count"`
	ObjectBytes uint64      `json:"object_bytes"`
	PageBytes   uint64      `json:"page_bytes"`
	BufferBytes uint64      `json:"buffer_bytes"`
	Objects     []ObjectRow `json:"objects"` // largest page bytes first
}

// ObjectRow sums the objects of one type that the endpoints of a row hold.
type ObjectRow struct {
	Type  string `json:"type"`  // the kernel's struct name
	Cache string `json:"cache"` // the slab cache as the kernel lists it
	// Count may be fractional in meaning (shared objects are split among their owners); it is rounded here.
	Count       int    `json:"count"`
	ObjectBytes uint64 `json:"object_bytes"`
	PageBytes   uint64 `json:"page_bytes"`
}

// AddressRow counts the endpoints of one role on one local address of a network namespace.
type AddressRow struct {
	Netns   uint32      `json:"netns,omitempty"` // its inode number, where there are several
	Address string      `json:"address"`
	Role    kernel.Role `json:"role"`
	Count   int         `json:"count"`
}

// Trace is what the probes counted, beside what the walk found, from first connect to measurement.
type Trace struct {
	Connects    int `json:"connects"`     // calls of connect() that got as far as SYN_SENT, by the state changes
	ClientOpens int `json:"client_opens"` // endpoints that connect() brought to ESTABLISHED
	ServerOpens int `json:"server_opens"` // endpoints that a handshake brought to ESTABLISHED
	Closes      int `json:"closes"`       // of these, destroyed before the walk
	// FreeMisses is how many frees the kernel did not report because they interrupted the report of another
	// one. Nothing but the frees of CallSites rests on them.
	FreeMisses uint64 `json:"free_misses"`
	// BatchConnections is how many connections, the run's first, Types and CallSites cover; 0: all of them. The opens
	// and closes above always cover all.
	BatchConnections int        `json:"batch_connections"`
	Types            []TypeRow  `json:"types"`
	CallSites        []CallSite `json:"call_sites"`
	// ScenarioCallSites were counted while all connections were brought into the scenario.
	ScenarioCallSites []CallSite `json:"scenario_call_sites"`
}

// TypeRow holds the trace's figure for one type and role against the walk's.
type TypeRow struct {
	Role  kernel.Role `json:"role"`
	Type  string      `json:"type"`
	Trace int         `json:"trace"` // allocations from the first connect() on
	Walk  int         `json:"walk"`
}

// CallSite is one place in the kernel that allocated or freed for the run.
type CallSite struct {
	Function string `json:"function"`
	Cache    string `json:"cache"`
	Type     string `json:"type"` // empty where the object does not belong to an endpoint for long
	Allocs   uint64 `json:"allocs"`
	Frees    uint64 `json:"frees"`
}

// Reconcile holds the account against what the kernel says of its slab caches.
type Reconcile struct {
	SlabDeltaBytes     int64 `json:"slab_delta_bytes"`     // Slab in /proc/meminfo, after less before
	AccountedPageBytes int64 `json:"accounted_page_bytes"` // all endpoints' page bytes, less ReusedBytes and StandingBytes
	// Others is by how much the host's other endpoints have made slab memory grow, nil where they were not counted.
	Others *OthersGrown `json:"others,omitempty"`
	// UnexplainedRatio = |slab_delta_bytes − accounted_page_bytes − others.page_bytes| / slab_delta_bytes.
	UnexplainedRatio float64 `json:"unexplained_ratio"`
	// ReusedBytes is the part of the account that lies in free places of slabs which were there before, and so made
	// slab memory grow by less. It is taken from /proc/slabinfo, for the caches of the account; negative where places
	// became free.
	ReusedBytes int64 `json:"reused_bytes"`
	// StandingBytes is the page bytes of the endpoints that were there before the growth began: a run's listeners.
	StandingBytes int64      `json:"standing_bytes,omitempty"`
	Caches        []CacheRow `json:"caches"`
	// BothEnds says that the two ends of a run between machines share this kernel. The growth is that of both ends, and so
	// is the account; the other machine's entry has no Reconcile.
	BothEnds bool `json:"both_ends,omitempty"`
	// Threads is the part of what is unexplained that the threads of a server with one for each connection have.
	Threads *ThreadSlab `json:"threads,omitempty"`
}

// CacheRow compares one slab cache's growth in /proc/slabinfo with the account.
type CacheRow struct {
	Cache                string  `json:"cache"`
	SlabinfoDeltaObjects int64   `json:"slabinfo_delta_objects"`
	AccountedObjects     int64   `json:"accounted_objects"`    // without slabobj_ext vectors of old slabs, and without standing endpoints'
	SlabinfoDeltaBytes   int64   `json:"slabinfo_delta_bytes"` // growth in slab pages
	AccountedPageBytes   int64   `json:"accounted_page_bytes"` // of all endpoints but standing ones, in old slabs and new
	ReusedBytes          int64   `json:"reused_bytes"`         // what of them made the cache grow by less
	ObjectSizeBytes      uint64  `json:"object_size_bytes"`
	PageBytesEachObject  float64 `json:"page_bytes_each_object"`
	ReusedVectors        int64   `json:"reused_vectors,omitempty"` // what AccountedObjects leaves out
	// By how much the other endpoints' objects became more; negative where they became fewer.
	OthersObjects   int64 `json:"others_objects,omitempty"`
	OthersPageBytes int64 `json:"others_page_bytes,omitempty"`
}

// OthersGrown is the host's endpoints that are not the run's, in all network namespaces, before it and after.
type OthersGrown struct {
	SocketsBefore int   `json:"sockets_before"`
	SocketsAfter  int   `json:"sockets_after"`
	PageBytes     int64 `json:"page_bytes"` // slab pages, after less before
}

// others is what the host's other endpoints explain of the growth.
func (rec *Reconcile) others() int64 {
	if rec.Others == nil {
		return 0
	}
	return rec.Others.PageBytes
}

// Unexplained is slab growth less all that was found; positive where the kernel uses more.
func (rec *Reconcile) Unexplained() int64 {
	return rec.SlabDeltaBytes - rec.AccountedPageBytes - rec.others()
}

// TopEndpoint is one of the costliest endpoints.
type TopEndpoint struct {
	Role      kernel.Role `json:"role"`
	State     string      `json:"state"`
	Local     string      `json:"local"`           // address:port
	Remote    string      `json:"remote"`          // address:port
	Netns     uint32      `json:"netns,omitempty"` // where there are several
	PID       int         `json:"pid"`             // who has it, else who opened it; 0 when not known
	Comm      string      `json:"comm,omitempty"`  // who has it
	Owner     OwnerKind   `json:"owner,omitempty"`
	Container string      `json:"container,omitempty"`
	// Idle and Age are nil where they are not known. An age is a lower bound: the kernel keeps no time of birth.
	Idle        *float64 `json:"idle_seconds,omitempty"`
	Age         *float64 `json:"age_seconds,omitempty"`
	UnreadBytes uint64   `json:"unread_bytes,omitempty"`
	// UnackedBytes is data that the peer has not acknowledged or not yet been sent; RxBytes and TxBytes are its queues, by the kernel's
	// accounting.
	UnackedBytes uint64         `json:"unacked_bytes,omitempty"`
	RxBytes      uint64         `json:"rx_bytes,omitempty"`
	TxBytes      uint64         `json:"tx_bytes,omitempty"`
	Objects      map[string]int `json:"objects"`
	ObjectBytes  uint64         `json:"object_bytes"`
	PageBytes    uint64         `json:"page_bytes"`
	BufferBytes  uint64         `json:"buffer_bytes"`
}

// Losses counts everything the measurement knows it missed. All zero is the normal case.
type Losses struct {
	RingFull        uint64 `json:"ring_full"`        // events for which the ring had no room
	MapFull         uint64 `json:"map_full"`         // call sites and slab caches that found no place in their tables
	RecursionMisses uint64 `json:"recursion_misses"` // probe runs the kernel skipped, BPF's own recursion guard
	StackFailures   uint64 `json:"stack_failures"`   // sampled stacks that could not be taken whole
	WalkSkipped     uint64 `json:"walk_skipped"`     // endpoints the walk met but could not follow or deliver
	AcceptMisses    uint64 `json:"accept_misses"`    // accepted ends whose accept() the hook did not report
}

// Total is the number of losses of all kinds.
func (l Losses) Total() uint64 {
	return l.RingFull + l.MapFull + l.RecursionMisses + l.StackFailures + l.WalkSkipped + l.AcceptMisses
}

// Cost is what the profiler itself used.
type Cost struct {
	ProfilerRSSBytes uint64  `json:"profiler_rss_bytes"` // resident memory of the profiling process
	BPFMapBytes      uint64  `json:"bpf_map_bytes"`
	Events           uint64  `json:"events"`
	WalkSeconds      float64 `json:"walk_seconds"`
	// CPUSeconds is the CPU time of the profiling process, that of the walk's programs in the kernel among it; 0 where it was not
	// measured.
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
	// AccountSeconds is from the last connection established to the account made, the walk among it.
	AccountSeconds float64 `json:"account_seconds"`
}

// Stack is one allocation path. Counts and bytes are scaled from samples to the walk's exact totals,
// so that the stacks of one role and type add up to its page bytes.
type Stack struct {
	Role    kernel.Role `json:"role"`
	Type    string      `json:"type"`
	Cache   string      `json:"cache"`
	Count   int         `json:"count"`
	Bytes   uint64      `json:"bytes"`   // page bytes
	Samples int         `json:"samples"` // 0: no sample was taken for this role and type; frames then say so
	Frames  []string    `json:"frames"`  // root first; the type itself is not among them
}

// Sampling says how the stacks were sampled.
type Sampling struct {
	Interval int `json:"interval"` // mean allocations for each sample
	Samples  int `json:"samples"`
	// ErrorRatio is the standard error of how the bytes divide among paths, over all bytes: two runs of the same
	// differ by about that. Types with a single path have none.
	ErrorRatio float64 `json:"error_ratio"`
	// SymbolisedRatio is the share of all bytes that lies under a sampled path all of whose frames have names.
	SymbolisedRatio float64 `json:"symbolised_ratio"`
}

// ClientPorts says how the connecting ends share local ports: a port serves as many connections at the same time as
// there are different rests of the four-tuple.
type ClientPorts struct {
	Used int `json:"used"` // different ports; one that is used in two network namespaces counts twice
	Most int `json:"most"` // connections that the most used one has at the same time
	// Example is the lowest port, with its connections, 20 at most. Netns is where, if there are several.
	Example     int         `json:"example"`
	Netns       uint32      `json:"netns,omitempty"`
	Connections []FourTuple `json:"connections"`
}

// FourTuple is one connection as its client end has it, addresses with ports.
type FourTuple struct {
	Local  string `json:"local"`
	Remote string `json:"remote"`
}
