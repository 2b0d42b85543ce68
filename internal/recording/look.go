package recording

// Look is how a running host was looked at, and what the kernel's limits were then.
type Look struct {
	// Namespaces is how many network namespaces were walked.
	Namespaces int     `json:"namespaces"`
	Seconds    float64 `json:"seconds"` // from the command's start to the account
	// By is the keys that the report groups by, Filter what chose the endpoints; empty: all.
	By     []string `json:"by,omitempty"`
	Filter []string `json:"filter,omitempty"`
	// Calibration says where the bytes of slabobj_ext vectors and LSM blobs come from.
	Calibration Calibration `json:"calibration"`
	// Listeners are the host's listening sockets with their accept queues, fullest first; those beyond a bound are left out.
	Listeners []Listener `json:"listeners,omitempty"`
	// Orphans and TimeWaits are the host's counts with their limits, net.ipv4.tcp_max_orphans and tcp_max_tw_buckets (of the
	// namespace that connprof runs in; TIME_WAIT is counted in the namespace that has most of them).
	Orphans      int `json:"orphans"`
	OrphansMax   int `json:"orphans_max"`
	TimeWaits    int `json:"time_waits"`
	TimeWaitsMax int `json:"time_waits_max"`
	// Tracked is connection tracking's entries in the namespace that connprof runs in, TrackedMax their limit,
	// net.netfilter.nf_conntrack_max. TrackedBytes is the slabs of all namespaces' entries. They are part of no socket's account.
	Tracked      int    `json:"tracked,omitempty"`
	TrackedMax   int    `json:"tracked_max,omitempty"`
	TrackedBytes uint64 `json:"tracked_bytes,omitempty"`
}

// Calibration is how a look knows what only allocation sites tell.
type Calibration string

// The kinds of calibration.
const (
	Calibrated     Calibration = "batch"  // a small batch of connprof's own connections was traced
	CalibratedOnce Calibration = "cached" // the same, earlier since this boot
	Uncalibrated   Calibration = "none"   // left out: --no-calibrate, or it was not possible
)

// Listener is a listening socket and those that wait to be accepted.
type Listener struct {
	Netns     uint32 `json:"netns,omitempty"`
	Address   string `json:"address"` // address:port
	PID       int    `json:"pid"`
	Comm      string `json:"comm,omitempty"`
	Cgroup    string `json:"cgroup,omitempty"`
	Container string `json:"container,omitempty"`
	Queue     int    `json:"queue"`   // sk_ack_backlog: connections nobody has accepted yet
	Backlog   int    `json:"backlog"` // sk_max_ack_backlog: more than this are refused
}
