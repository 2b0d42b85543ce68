package recording

// Stays is what slab memory still held once a run had closed its connections, against what it held before the first.
type Stays struct {
	Closed       int     `json:"closed"`        // connections that were closed: by FIN, the client's end first
	CloseSeconds float64 `json:"close_seconds"` // what closing them took
	Idle         Idle    `json:"idle"`
	// Moments are in the order of time: the first is right after the last close.
	Moments []StayMoment `json:"moments"`
	Caches  []StayCache  `json:"caches"` // most bytes at the last moment first
}

// Idle is how the host was watched while it had none of the connections. Its slab caches grow and shrink by themselves: the
// widest range of these readings, scaled up where the connections took longer, is the error of a cache.
type Idle struct {
	Seconds  float64 `json:"seconds"`  // from the first reading to the last
	Readings int     `json:"readings"` // of slab memory
}

// StayMoment is one look after the close.
type StayMoment struct {
	Seconds float64 `json:"seconds"` // since the last connection was closed
	// AtOnce says that only the counts of caches with Types are settled: of the others free places may count as objects.
	AtOnce bool `json:"at_once,omitempty"`
	// AfterRCU says that the kernel had a grace period of RCU, and time to free what had waited for it.
	AfterRCU bool `json:"after_rcu,omitempty"`
	// SlabBytes is Slab in /proc/meminfo less what it was before the first connection, of the whole host; ErrorBytes is by how
	// much that changes without connections.
	SlabBytes  int64 `json:"slab_bytes"`
	ErrorBytes int64 `json:"error_bytes"`
	// TimeWait and Others are the run's sockets that the kernel still lists: those in TIME_WAIT, and those in another state that
	// were not there before.
	TimeWait int `json:"time_wait"`
	Others   int `json:"others,omitempty"`
}

// StayCache is one slab cache. Its lists have a number for each moment.
type StayCache struct {
	Cache string `json:"cache"` // as /proc/slabinfo lists it
	// Types are the kernel's structs that endpoints have in it. SLUB merges caches of one size: other structs may be in it, too.
	Types               []string `json:"types,omitempty"`
	ObjectBytes         uint64   `json:"object_bytes"` // of one object
	PageBytesEachObject float64  `json:"page_bytes_each_object"`
	// Left is how many objects there are more than before the first connection, without those that sockets hold which the kernel
	// still lists. InSockets are those of the run's own sockets among the latter.
	Left      []int64 `json:"left"`
	InSockets []int64 `json:"in_sockets"`
	// Errors is by how many objects the cache changes without connections, in the time from before the first to the moment. What
	// sockets came to hold or let go of while slab memory was read is added.
	Errors []int64 `json:"errors"`
}

// Stay is how many objects have stayed at a moment, beyond the error; 0 where the figure is within it, or negative.
func (c *StayCache) Stay(moment int) int64 {
	if moment < 0 || moment >= min(len(c.Left), len(c.Errors)) || c.Left[moment] <= c.Errors[moment] {
		return 0
	}
	return c.Left[moment]
}

// PerHundred is how many closed connections may leave one object before it counts as one that stays: less is nothing that each
// connection leaves.
const PerHundred = 100

// StayEach is Stay where that is at least one object for PerHundred of the connections that were closed.
func (c *StayCache) StayEach(moment, closed int) int64 {
	n := c.Stay(moment)
	if n < int64(closed/PerHundred) {
		return 0
	}
	return n
}
