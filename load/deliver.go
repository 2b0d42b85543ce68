package load

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// delivery is what one connection has still to bring to its other end.
type delivery struct {
	fd     int32
	file   int // to send from, 0 for none
	left   int // of the payload, not written yet
	queued int // written, and not acknowledged yet; a FIN counts as one byte
}

// deliver does a step that the other end takes part in without being told: it sends the payload, or closes its direction, and
// waits until all of it is acknowledged. Then the bytes are in the other end's queue, and no longer on their way. No connection
// waits for another. The shard gives those up that nothing has moved on for the time of patience.
func (s *shard) deliver(a *actor, do action) {
	open := make([]delivery, 0, len(s.held))
	for _, fd := range s.held {
		d := delivery{fd: fd}
		if do.sends() {
			d.left = len(a.payload)
			if do == sendFile {
				d.file = a.file
			}
		} else if e := a.perform(do, int(fd)); e != 0 {
			a.refuse(e)
			continue
		}
		open = append(open, d)
	}
	for moved := Monotonic(); len(open) > 0; gather() {
		var progress bool
		if open, progress = a.advance(open); progress {
			moved = Monotonic()
		}
		if Monotonic()-moved > patience {
			break
		}
	}
	for _, d := range open {
		if !do.sends() {
			a.shared.acted.Add(1) // its FIN is on its way: the walk tells the states
			continue
		}
		a.shared.delivered.Add(int64(len(a.payload) - d.left - d.queued))
		a.shared.stuck.Add(1)
	}
}

// advance writes what each connection takes. It keeps those that are not done, and tells whether anything has moved.
func (a *actor) advance(open []delivery) (left []delivery, progress bool) {
	left = open[:0]
	for _, d := range open {
		was := d
		if e := d.write(a.payload); e != 0 {
			a.refuse(e)
			progress = true
			continue
		}
		d.queued = unacknowledged(int(d.fd))
		progress = progress || d != was
		if d.left == 0 && d.queued == 0 {
			a.shared.delivered.Add(int64(len(a.payload)))
			a.shared.acted.Add(1)
			progress = true
			continue
		}
		left = append(left, d)
	}
	return left, progress
}

// write writes as much of the payload as the socket takes now.
func (d *delivery) write(payload []byte) syscall.Errno {
	for d.left > 0 {
		n, err := d.send(payload)
		switch {
		case err == unix.EAGAIN:
			return 0
		case err == unix.EINTR:
		case err != nil:
			return errno(err)
		case n == 0: // the file has ended
			return unix.EIO
		default:
			d.left -= n
		}
	}
	return 0
}

// send sends the rest of the payload, or some of it.
func (d *delivery) send(payload []byte) (int, error) {
	if d.file == 0 {
		return unix.Write(int(d.fd), payload[len(payload)-d.left:])
	}
	from := int64(len(payload) - d.left)
	return unix.Sendfile(int(d.fd), d.file, &from, d.left)
}

// unacknowledged is how much of what was written the other end has not acknowledged (tcp_ioctl: write_seq - snd_una). A socket
// that cannot tell has nothing.
func unacknowledged(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// refuse counts a connection that the kernel refuses a step.
func (a *actor) refuse(e syscall.Errno) {
	a.shared.note(stepAct, e)
	a.shared.refused.Add(1)
}

// patience is how long a connection may keep its shard waiting, and a shard may wait without anything that moves.
const patience = 2 * time.Second
