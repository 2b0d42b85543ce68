package kernel

// OpenFile is one file descriptor of a task that leads to a TCP socket.
type OpenFile struct {
	PID, TID, FD uint32 // of the process, of the thread whose table has it, and the descriptor's number
	File         uint64 // address of the struct file, by which Endpoint.File names it too
	Sock         uint64 // address of the struct sock
	Netns        uint32 // inode number of the socket's network namespace
	Comm         string // of the task
	// Endpoint is the socket itself where the protocol's tables have it not, nil elsewhere.
	Endpoint *Endpoint
}
