package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
)

const trackedCount = "net.netfilter.nf_conntrack_count"

// readConntrack reads the size of the table of tracked connections. It is the host's, and so is the namespace that most of a
// container's connections go through as well: from within one, what is tracked there cannot be seen.
func readConntrack(h Host) (Reading, error) {
	r, err := with(sysctl("net.netfilter.nf_conntrack_max"), addConntracked)(h)
	absent := errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil && !r.Idle || err != nil && !absent:
		return r, err
	case !h.firstNamespace():
		return Reading{}, &unreadableError{"the host's table cannot be seen from this network namespace: run connprof check on the host", err}
	case absent:
		return Reading{Now: NoLimit, Idle: true, Note: "not in the path: the kernel has not loaded it"}, nil
	}
	return r, nil
}

// addConntracked tells whether connection tracking is in the path. Its hooks are there once a rule asks for them, and then
// everything that a namespace sends has an entry, on loopback too. An empty table may only mean that nobody has sent anything:
// then connprof sends one datagram to itself, which leaves one entry for half a minute.
func addConntracked(h Host, r *Reading) error {
	entries, err := h.fields(sysctlPath(trackedCount))
	if err != nil {
		return err
	}
	r.Used, r.Note = entries[0], "in the path: it has entries"
	if r.Used > 0 {
		return nil
	}
	if err := h.sendDatagram(); err != nil {
		r.Idle, r.Note = true, fmt.Sprintf("it has no entry, and whether it is in the path is not known: %v", err)
		return nil
	}
	if entries, err = h.fields(sysctlPath(trackedCount)); err != nil {
		return err
	}
	r.Idle, r.Note = entries[0] == 0, "in the path: a datagram to this process itself got an entry"
	if r.Idle {
		r.Note = "not in the path: a datagram to this process itself got no entry"
	}
	return nil
}

func (h Host) sendDatagram() error {
	if h.Datagram != nil {
		return h.Datagram()
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WriteTo([]byte{0}, c.LocalAddr())
	return err
}
