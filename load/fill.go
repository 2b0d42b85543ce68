package load

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// poured is what is written at a time where a socket is to be filled: as much as one segment over loopback takes at most.
var poured [64 << 10]byte

// filling is a connection that is sent on until the kernel takes no more.
type filling struct {
	fd     int32
	queued int // written, and not acknowledged yet
}

// fill writes to every connection until the other end's window is closed and the send queue full. A window that has become smaller
// than a segment closes with a probe, 0.2 s later and more: what nothing has moved on for the time of patience is full. No connection
// waits for another.
func (s *shard) fill(a *actor) {
	open := make([]filling, 0, len(s.held))
	for _, fd := range s.held {
		open = append(open, filling{fd: fd})
	}
	for moved := Monotonic(); Monotonic()-moved <= patience; gather() {
		var progress bool
		if open, progress = a.pour(open); progress {
			moved = Monotonic()
		}
	}
	a.shared.acted.Add(int64(len(open)))
}

// pour writes what each connection takes now, and tells whether anything has moved. Those that the kernel refuses are left out.
func (a *actor) pour(open []filling) (left []filling, progress bool) {
	left = open[:0]
	for _, f := range open {
		written, e := writeAll(int(f.fd))
		if e != 0 {
			a.refuse(e)
			progress = true
			continue
		}
		queued := unacknowledged(int(f.fd))
		progress = progress || written || queued != f.queued
		f.queued = queued
		left = append(left, f)
	}
	return left, progress
}

// writeAll writes until the socket takes no more for now.
func writeAll(fd int) (written bool, e syscall.Errno) {
	for {
		n, err := unix.Write(fd, poured[:])
		switch {
		case err == unix.EAGAIN:
			return written, 0
		case err == unix.EINTR:
		case err != nil:
			return written, errno(err)
		default:
			written = written || n > 0
		}
	}
}
