package recording

// Books holds what a walk found against the kernel's own figures for the whole host. All stand for one moment only on a host
// at rest: on a busy one the remainders are also what changed between reading and walking.
type Books struct {
	Sockets  SocketBook  `json:"sockets"`
	TCPSocks TCPSockBook `json:"tcp_socks"`
	Pages    PageBook    `json:"pages"`
	Slab     SlabBook    `json:"slab"`
}

// SocketBook is about full socks: request socks and those in TIME_WAIT are in none of its figures.
type SocketBook struct {
	Alloc       int `json:"alloc"`       // "alloc" of TCP in /proc/net/sockstat, which is the host's
	Walked      int `json:"walked"`      // found in the protocol's tables
	Unconnected int `json:"unconnected"` // found by their file alone: neither connected nor listening
	// Unreachable is the remainder: what is in no table and in no process's hands. It is negative where sockets came up
	// while the walk went on.
	Unreachable int `json:"unreachable"`
}

// TCPSockBook is the same by the slab caches TCP and TCPv6.
type TCPSockBook struct {
	Slabinfo int `json:"slabinfo"` // active objects; those that CPUs keep in stock are among them until the caches are shrunk
	Walked   int `json:"walked"`   // of both kinds of SocketBook
}

// Remainder is how many objects the walk did not find.
func (b TCPSockBook) Remainder() int { return b.Slabinfo - b.Walked }

// PageBook is the memory for queues that the protocol has taken from its budget, in pages. It is no memory in use: what
// sendfile() queues is the page cache's, and is booked all the same.
type PageBook struct {
	Kernel        int64   `json:"kernel"` // the protocol's counter with the part of each CPU
	Summed        float64 `json:"summed"` // by the sockets' own accounts
	LimitLow      int64   `json:"limit_low"`
	LimitPressure int64   `json:"limit_pressure"`
	LimitHigh     int64   `json:"limit_high"` // sysctl net.ipv4.tcp_mem
}

// Remainder is how many pages no walked socket accounts for.
func (b PageBook) Remainder() float64 { return float64(b.Kernel) - b.Summed }

// SlabBook is all slab memory, most of which is not TCP's.
type SlabBook struct {
	TotalBytes     uint64 `json:"total_bytes"`     // Slab in /proc/meminfo
	AccountedBytes uint64 `json:"accounted_bytes"` // page bytes of all endpoints
}

// Remainder is the bytes that are not the account's.
func (b SlabBook) Remainder() int64 { return int64(b.TotalBytes) - int64(b.AccountedBytes) }
