package recording

// The models of the accepting end.
const (
	ModelEpoll  = "epoll"  // threads that wait for many connections at once
	ModelThread = "thread" // a thread for each connection
)

// ServerCost is what it takes to serve the connections, beside what they are made of. It tells servers of different
// models apart.
type ServerCost struct {
	ServerModel string `json:"server_model,omitempty"` // epoll | thread
	// Threads is how many the accepting process had when all was up, the Go runtime's own among them.
	Threads int `json:"threads,omitempty"`
	// ServerRSSBytes is the resident user-space memory of the accepting process when all was up.
	ServerRSSBytes uint64 `json:"server_rss_bytes,omitempty"`
	// ContextSwitches are those from the first connect() until all was up and in its scenario.
	ContextSwitches *ContextSwitches `json:"context_switches,omitempty"`
	// Growth is measured only where two models are compared.
	Growth *MemoryGrowth `json:"memory_growth,omitempty"`
}

// ContextSwitches are those of both processes, summed over all their threads.
type ContextSwitches struct {
	Client Switches `json:"client"`
	Server Switches `json:"server"`
}

// Switches is how often threads left a CPU: to wait, or because another one was to run.
type Switches struct {
	Voluntary   int64 `json:"voluntary"`
	Involuntary int64 `json:"involuntary"`
}

// MemoryGrowth is how much memory the connections and who serves them took, from before the first connect() until all
// was up. The kernel's three are the host's, by /proc/meminfo.
type MemoryGrowth struct {
	ServerUserBytes  int64 `json:"server_user_bytes"` // resident, of the accepting process
	SlabBytes        int64 `json:"slab_bytes"`        // both ends of each connection, and what threads have there
	KernelStackBytes int64 `json:"kernel_stack_bytes"`
	PageTableBytes   int64 `json:"page_table_bytes"`
}

// Total is all of it.
func (g MemoryGrowth) Total() int64 {
	return g.ServerUserBytes + g.SlabBytes + g.KernelStackBytes + g.PageTableBytes
}

// Comparison is a run of the same size with the other model, made just before.
type Comparison struct {
	Established       int     `json:"established"`
	ConnectsPerSecond float64 `json:"connects_per_second"`
	ServerCost
}

// ThreadSlab is the part of slab growth that is the threads' own: what the caches of threads' objects have grown by,
// less what the account has in them.
type ThreadSlab struct {
	Bytes  int64              `json:"bytes"`
	Caches []ThreadCacheGrown `json:"caches"`
}

// ThreadCacheGrown is one of these caches.
type ThreadCacheGrown struct {
	Cache   string `json:"cache"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
}
