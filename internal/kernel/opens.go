package kernel

import (
	"net/netip"
	"time"
)

// OpenerID is the number of who opened connections: a code path or what stands in its place, and a process.
type OpenerID uint64

// The bits of what stands in the place of a code path.
const (
	openerProcess  = 0x10000000
	openerLate     = 0x1fffffff
	openerKernel   = 0x20000000
	openerListener = 0x40000000
	openerSample   = 0x80000000
)

// NoOpener is the number of all that found no place of their own.
const NoOpener OpenerID = 0

func (id OpenerID) upper() uint32 { return uint32(id >> 32) }

// Path is the number of the code path, 0 where there is none.
func (id OpenerID) Path() uint32 {
	if id.upper() >= openerProcess {
		return 0
	}
	return id.upper()
}

// Sample tells whether it stands for one copied stack.
func (id OpenerID) Sample() bool { return id.upper()&openerSample != 0 }

// Late tells whether it stands for what was opened while the walk at the end went on.
func (id OpenerID) Late() bool { return id.upper() == openerLate }

// Process tells whether no more than the process is known.
func (id OpenerID) Process() bool { return id.upper() >= openerProcess && id.upper() < openerKernel }

// Kernel tells whether it is a thread of the kernel's own, or one of io_uring's.
func (id OpenerID) Kernel() bool { return id.upper() >= openerKernel && id.upper() < openerListener }

// Listener tells where connections came in that no process has accepted, or whose accept() was not seen.
func (id OpenerID) Listener() (netns uint32, port uint16, is bool) {
	if id.Sample() || id.upper()&openerListener == 0 {
		return 0, 0, false
	}
	return uint32(id), uint16(id.upper()), true
}

// PathOf is the number of a code path of a process. Paths are from 1 to 0x0fffffff.
func PathOf(path, pid uint32) OpenerID { return OpenerID(path)<<32 | OpenerID(pid) }

// OpenError is why a connection did not come up.
type OpenError uint8

// openErrors are named as errno.h does.
var openErrors = [...]string{"", "another error", "closed by the program", "EADDRNOTAVAIL", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET",
	"ENETUNREACH", "EHOSTUNREACH", "EACCES or EPERM", "EINTR"}

// OpenErrors is how many kinds of errors are told apart.
const OpenErrors = 11

func (e OpenError) String() string {
	if int(e) < len(openErrors) {
		return openErrors[e]
	}
	return openErrors[1]
}

// OpenerCounts is one opener's connections.
type OpenerCounts struct {
	Opened, Closed, Failed uint64
	Arrived                uint64 // at a listener, whoever accepted them
	Comm                   string
	PID                    uint32 // 0: it has no number in connprof's PID namespace
	Role                   Role
	Errors                 [OpenErrors]uint32
	Lifetimes              Lifetimes
}

// Add adds the counts of another number for the same opener.
func (c *OpenerCounts) Add(d *OpenerCounts) {
	c.Opened += d.Opened
	c.Closed += d.Closed
	c.Failed += d.Failed
	c.Arrived += d.Arrived
	for i, n := range d.Errors {
		c.Errors[i] += n
	}
	for i, n := range d.Lifetimes {
		c.Lifetimes[i] += n
	}
	if c.Comm == "" {
		c.Comm, c.PID, c.Role = d.Comm, d.PID, d.Role
	}
}

// LifetimeSteps are quarters of an octave of microseconds.
const LifetimeSteps = 148

// Lifetimes is a histogram, from connect() or the handshake to the end of the sock.
type Lifetimes [LifetimeSteps]uint32

// Percentile is the time that so many of a hundred do not exceed, good to an eighth; false: there is none.
func (l *Lifetimes) Percentile(percent int) (time.Duration, bool) {
	total := 0
	for _, n := range l {
		total += int(n)
	}
	if total == 0 {
		return 0, false
	}
	seen := 0
	for step, n := range l {
		if seen += int(n); seen*100 >= total*percent {
			return time.Duration(StepMiddle(step) * float64(time.Microsecond)), true
		}
	}
	return 0, false
}

// OpenSocket is a connection that was opened while the programs watched and that they have not seen closed.
type OpenSocket struct {
	Opened time.Duration // on CLOCK_MONOTONIC
	Opener OpenerID
	Error  OpenError // connect() failed, and the sock is still there
	Role   Role
	// PeerPort tells it from another connection that has the sock's memory once it is closed.
	PeerPort uint16
}

// Same tells whether an endpoint of the same sock is this connection, as far as its peer's port tells. One that is no longer connected
// has none.
func (s *OpenSocket) Same(e *Endpoint) bool {
	return e.Remote.Port() == s.PeerPort || e.Remote.Port() == 0
}

// Service is where clients' connections went to.
type Service struct {
	Netns          uint32
	Address        netip.AddrPort
	Opened, Failed uint64
}

// ListenerMade is a listener that was made while the programs watched.
type ListenerMade struct {
	Netns uint32
	Port  uint16
	PID   uint32
	Comm  string
}

// StackCopy is a thread's user registers, by DWARF number, and its user stack from the stack pointer up.
type StackCopy struct {
	Opener OpenerID // what the connection was counted under
	// Program tells apart what exec() has made, StartStack is where it put the stack.
	Program, StartStack uint64
	Learned             uint32 // the path that it was recognised as; 0: it was not
	Registers           [33]uint64
	PID, TID            uint32
	Role                Role
	Comm                string
	Memory              []byte // valid during the call
}

// StackBeginning is what stacks are looked up by.
type StackBeginning struct {
	IP, Program uint64
	SP          uint32 // the stack pointer in its page
}

// StackSlots is how many return addresses of a stack are compared at most.
const StackSlots = 96

// StackSlot is a return address, and where it lies above the stack pointer.
type StackSlot struct {
	Offset  uint32
	Address uint64
}

// OpenCounters are sums since the programs were attached.
type OpenCounters struct {
	Opened, Closed, Failed        uint64
	ClosedBefore, NeverConnected  uint64
	Replaced                      uint64 // opened anew while the last one's end was not seen
	Copied, Recognised, NotCopied uint64 // stacks
	MapFull, RowsFull             uint64
}
