package recording

import "github.com/connprof/connprof/internal/kernel"

// Record is what only a record has: what was opened and closed while it watched.
type Record struct {
	Seconds float64 `json:"seconds"` // from the hooks on to the walk at the end
	// Command is what was started and watched, with its descendants alone; nil where processes were watched that ran already.
	Command []string `json:"command,omitempty"`
	// CommandStatus is how that ended: "exit status 0", "signal: killed"; empty where it still ran.
	CommandStatus string `json:"command_status,omitempty"`
	// Opened is the connections that connect() began and those that a handshake brought to a listener; Closed those of them that the
	// kernel has destroyed, Failed among them; Failed those of connect() that never came up. Live is those that the walk at the end found.
	Opened int `json:"opened"`
	Closed int `json:"closed"`
	Failed int `json:"failed"`
	Live   int `json:"live"`
	// Vanished is those that no event closed and that the walk did not find: their close was missed. They are in Closed.
	Vanished int `json:"vanished"`
	// Untracked is those that found no place among the open ones: what became of them is not known.
	Untracked int `json:"untracked,omitempty"`
	// Unseen is the sockets that the walk found and no event opened, though they were not there before.
	Unseen int `json:"unseen"`
	// Before is the connections that were open when the record began, BeforeClosed those of them that have been closed since.
	Before       int `json:"before"`
	BeforeClosed int `json:"before_closed"`
	// NeverConnected is the sockets that were closed without ever having been connected, accepted or listening.
	NeverConnected int `json:"never_connected"`
	// Timeline has a point a tick, the first at the beginning, all zero.
	Timeline []RecordPoint `json:"timeline"`
	Stacks   StackShare    `json:"stacks"`
	// Churn is where connections went to and what they came in at, most opened first; beyond a bound one row is Other.
	Churn []Churn `json:"churn"`
}

// RecordPoint is the sums from the beginning to a moment.
type RecordPoint struct {
	Seconds float64 `json:"seconds"`
	Opened  int     `json:"opened"`
	Closed  int     `json:"closed"`
	Failed  int     `json:"failed"`
}

// StackShare says of how many opens the code is known.
type StackShare struct {
	Whole int `json:"whole"` // down to where the thread or goroutine begins
	Part  int `json:"part"`
	None  int `json:"none"`
	// Copied is how many stacks were copied and unwound; all others were recognised.
	Copied int `json:"copied"`
	// Compared is how many recognised stacks were unwound as well, and Mistaken how many of these were another path: in tests.
	Compared int `json:"compared,omitempty"`
	Mistaken int `json:"mistaken,omitempty"`
	// Reasons say why stacks are partial or missing, most frequent first.
	Reasons []StackReason `json:"reasons,omitempty"`
}

// StackReason is one reason why stacks are not whole.
type StackReason struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"` // opens
}

// Churn is the connections to one service, or that came in at one listening port.
type Churn struct {
	Netns uint32      `json:"netns,omitempty"`
	Role  kernel.Role `json:"role"` // client: Address is the service; server: it is the listener, without an address
	// Address is address:port, *:port or Other.
	Address string `json:"address"`
	Opened  int    `json:"opened"`
	Closed  int    `json:"closed"`
	Failed  int    `json:"failed"`
	Live    int    `json:"live"`
}

// OpenerKind says what is known of who opened connections.
type OpenerKind string

// The kinds of openers.
const (
	OpenerPath     OpenerKind = "path"     // a code path of a process, Frames
	OpenerProcess  OpenerKind = "process"  // a process, without its code
	OpenerListener OpenerKind = "listener" // ends that came in at a listener, whose accept() was not seen or has not come yet
	OpenerKernel   OpenerKind = "kernel"   // a thread of the kernel's own: io_uring, NFS, ...
	OpenerBefore   OpenerKind = "before"   // opened before the record began
	OpenerUnseen   OpenerKind = "unseen"   // found by the walk alone: the event that opened them was missed
	OpenerOther    OpenerKind = "other"    // all that had no place of their own
)

// Opener is who opened connections, by code path, and what has become of these. Of a machine's openers Opened, Closed, Failed and
// Live add up to the Record's, but for OpenerBefore and OpenerUnseen, which have no Opened.
type Opener struct {
	Kind OpenerKind `json:"kind"`
	PID  int        `json:"pid"` // the first of PIDs; 0: not known, or none
	// PIDs is all processes with this path, where they are several, up to a bound.
	PIDs      []int       `json:"pids,omitempty"`
	Comm      string      `json:"comm,omitempty"`
	Container string      `json:"container,omitempty"`
	Role      kernel.Role `json:"role"` // client: connect(); server: accept()
	// Netns and Listener are of an OpenerListener: address:port, or *:port.
	Netns    uint32 `json:"netns,omitempty"`
	Listener string `json:"listener,omitempty"`
	// Frames are the functions' names, root first. Locations has the number of each in Machine.Locations.
	Frames    []string `json:"frames"`
	Locations []int    `json:"locations,omitempty"`
	// Stack is whether Frames reach down to where the thread begins, and Why what hindered it.
	Stack StackKind `json:"stack"`
	Why   string    `json:"why,omitempty"`

	Opened int `json:"opened"`
	Closed int `json:"closed"` // Failed among them
	Failed int `json:"failed"`
	Live   int `json:"live"` // as the walk at the end found them

	LiveObjectBytes uint64 `json:"live_object_bytes"`
	LivePageBytes   uint64 `json:"live_page_bytes"`
	LiveBufferBytes uint64 `json:"live_buffer_bytes"` // LiveRxBytes, LiveTxBytes and option memory
	LiveRxBytes     uint64 `json:"live_rx_bytes,omitempty"`
	LiveTxBytes     uint64 `json:"live_tx_bytes,omitempty"`
	// Objects are those of the live ones, largest page bytes first; Count is rounded, for some are shared.
	Objects []ObjectRow `json:"objects,omitempty"`
	// States, Peers and Idle are of the live ones. Peers are bounded, most first.
	States []StateCount `json:"states,omitempty"`
	Peers  []PeerCount  `json:"peers,omitempty"`
	Idle   *Spread      `json:"idle_seconds,omitempty"`

	// Lifetime is from connect() or the handshake to the end of the sock, of those that came up and were closed; nil: none.
	Lifetime *Percentiles  `json:"lifetime_seconds,omitempty"`
	Errors   []OpenerError `json:"errors,omitempty"`
	// Tenths is how many were open at the end of each tenth of the time.
	Tenths []int `json:"tenths,omitempty"`
}

// StackKind is how much of a stack is known.
type StackKind string

// The kinds of stacks.
const (
	StackWhole StackKind = "whole"
	StackPart  StackKind = "part"
	StackNone  StackKind = "none"
)

// Percentiles are good to an eighth.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// OpenerError is why connections did not come up.
type OpenerError struct {
	Error string `json:"error"` // ECONNREFUSED, ETIMEDOUT, ..., or "closed by the program" while it still connected
	Count int    `json:"count"`
}

// StateCount is how many endpoints are in a state.
type StateCount struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

// PeerCount is how many endpoints have a remote address: with its port for a client's ends, without for a server's.
type PeerCount struct {
	Peer  string `json:"peer"`
	Count int    `json:"count"`
}

// Location is a place in code. Frames that were inlined have one of their own, with the address of the function they are in.
type Location struct {
	Function string `json:"function,omitempty"` // empty: no symbol is known
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	// Module is the file that the code is in, as the process sees it; [vdso], [jit].
	Module  string `json:"module,omitempty"`
	BuildID string `json:"build_id,omitempty"`
	// Address is that of the file itself (p_vaddr); of generated code it is the process's.
	Address uint64 `json:"address,omitempty"`
	// Start, Limit and Offset are of the mapping that it lies in.
	Start   uint64 `json:"start,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
	Offset  uint64 `json:"offset,omitempty"`
	Inlined bool   `json:"inlined,omitempty"` // into the next frame towards the root
}
