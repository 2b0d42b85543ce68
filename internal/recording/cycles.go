package recording

// Cycles is what slab memory kept when a run opened and closed its connections several times. The first time is the profiled one:
// what it leaves is what the others are held against, for it fills caches that are filled once.
type Cycles struct {
	Closed int  `json:"closed"` // connections that were opened and closed again after the first time
	Idle   Idle `json:"idle"`
	// Each is the times after the first, in their order.
	Each []Cycle `json:"each"`
	// Caches are as in Stays, with a number for each of these times in their lists; most growth first.
	Caches []StayCache `json:"caches"`
	// DyingCgroups is by how many more cgroups were deleted and not yet freed after the last time; nil where the kernel does not
	// tell (cgroup v1).
	DyingCgroups *int64 `json:"dying_cgroups,omitempty"`
}

// Cycle is one time.
type Cycle struct {
	Seconds    float64 `json:"seconds"` // since what the times are held against, to the look after the close
	Closed     int     `json:"closed"`  // connections that were up, and then closed by resets
	Failed     int     `json:"failed"`
	SlabBytes  int64   `json:"slab_bytes"` // growth of Slab in /proc/meminfo since then, of the whole host
	ErrorBytes int64   `json:"error_bytes"`
}
