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

// Server is a program of somebody else's that was the accepting end.
type Server struct {
	Command []string `json:"command"`
	Address string   `json:"address"` // that the connections went to, with the port
	Backlog int      `json:"backlog"` // of its accept queue, of the shortest where it has several
	// Memory is what its processes took when all was up, Growth what of it came since before the first connect().
	Memory ServerMemory `json:"memory"`
	Growth ServerMemory `json:"growth"`
	// CPUSeconds is the CPU time that they took meanwhile. Those that ended meanwhile are left out.
	CPUSeconds float64 `json:"cpu_seconds"`
	// Ended is how it ended before the run did: exit status 1, signal: killed. Empty where it did not.
	Ended string `json:"ended,omitempty"`
}

// ServerMemory is what all processes of a server take beside slab memory.
type ServerMemory struct {
	Processes int `json:"processes"`
	Threads   int `json:"threads"`
	// RSSBytes counts a page once for each process that has it, PSSBytes once in all. AnonymousBytes is the part of RSSBytes that is no
	// file's.
	RSSBytes         int64 `json:"rss_bytes"`
	PSSBytes         int64 `json:"pss_bytes"`
	AnonymousBytes   int64 `json:"anonymous_bytes"`
	PageTableBytes   int64 `json:"page_table_bytes"`
	KernelStackBytes int64 `json:"kernel_stack_bytes"`
}

// Since is how much more it is than before.
func (m ServerMemory) Since(b ServerMemory) ServerMemory {
	return ServerMemory{m.Processes - b.Processes, m.Threads - b.Threads, m.RSSBytes - b.RSSBytes, m.PSSBytes - b.PSSBytes,
		m.AnonymousBytes - b.AnonymousBytes, m.PageTableBytes - b.PageTableBytes, m.KernelStackBytes - b.KernelStackBytes}
}

// Exchange is what the connecting end said on each connection, and what it waited for.
type Exchange struct {
	SentBytes     int    `json:"sent_bytes"`
	Sent          string `json:"sent,omitempty"` // how that begins, quoted
	ExpectedBytes int    `json:"expected_bytes,omitempty"`
	Expected      string `json:"expected,omitempty"` // a regular expression
	// OtherAnswer is how the first answer began that was not the expected one.
	OtherAnswer string `json:"other_answer,omitempty"`
	// EverySeconds is how often it was said again, 0 for never. Asked, Answered and Unanswered count that until the account was made, and
	// where the connections were held until the end of that.
	EverySeconds float64 `json:"every_seconds,omitempty"`
	Asked        int64   `json:"asked,omitempty"`
	Answered     int64   `json:"answered,omitempty"`
	Unanswered   int64   `json:"unanswered,omitempty"`
}
