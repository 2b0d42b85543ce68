package kernel

// OpenFile is a file descriptor of a TCP socket, in whatever network namespace. A file that several processes share comes once
// for each. A connection that is in no table of files is not among them: not accepted yet, orphaned, sent over a Unix socket and
// not received, or a fixed file of an io_uring.
type OpenFile struct {
	PID   uint32 // of the process, in the PID namespace of connprof; 0 where it has none there
	TID   uint32 // of the task whose table of files it is in: a thread can have one of its own
	FD    uint32
	File  uint64 // address of the struct file, by which it is the same as an Endpoint's
	Sock  uint64 // address of the struct sock. Of an MPTCP socket it is none of the walk's: its subflows have the file
	Netns uint32 // inode number of the socket's network namespace
	Comm  string // of the process
	// Endpoint is the socket where it is in none of the protocol's tables, so that no walk finds it: not bound, only bound,
	// or reset. It is nil for all others, and only valid during the call that it is given to.
	Endpoint *Endpoint
}
