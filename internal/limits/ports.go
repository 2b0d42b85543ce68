package limits

import (
	"fmt"
	"strconv"
	"strings"
)

// portRange is what an ordinary connect() chooses its port from.
type portRange struct {
	low, high int
	reserved  []bool // by port, net.ipv4.ip_local_reserved_ports
	floor     int    // net.ipv4.ip_unprivileged_port_start, below which the range may not reach
}

const maxPort = 65535

// readPorts reads the range and what is taken out of it.
func readPorts(h Host) (portRange, error) {
	p := portRange{reserved: make([]bool, maxPort+1), floor: 1024}
	n, err := h.fields(sysctlPath("net.ipv4.ip_local_port_range"))
	if err != nil {
		return p, err
	}
	if len(n) != 2 || n[0] > n[1] || n[1] > maxPort {
		return p, fmt.Errorf("parse net.ipv4.ip_local_port_range: %v is no range of ports", n)
	}
	p.low, p.high = int(n[0]), int(n[1])
	if n, err := h.fields(sysctlPath("net.ipv4.ip_unprivileged_port_start")); err == nil {
		p.floor = int(min(n[0], maxPort))
	}
	text, err := h.text(sysctlPath("net.ipv4.ip_local_reserved_ports"))
	if err != nil {
		return p, err
	}
	return p, p.reserve(text)
}

// reserve takes a list such as "8080,9000-9010".
func (p *portRange) reserve(list string) error {
	for _, part := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '\n' }) {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(strings.TrimSpace(first))
		to, err2 := strconv.Atoi(strings.TrimSpace(last))
		if err1 != nil || err2 != nil || from < 0 || to > maxPort {
			return fmt.Errorf("parse net.ipv4.ip_local_reserved_ports: %q is no range of ports", part)
		}
		for port := from; port <= to; port++ {
			p.reserved[port] = true
		}
	}
	return nil
}

// usable counts the ports of a range that are not reserved.
func (p *portRange) usable(low, high int) (n uint64) {
	for port := low; port <= high; port++ {
		if !p.reserved[port] {
			n++
		}
	}
	return n
}

// most is the largest number of ports that any range could offer.
func (p *portRange) most() uint64 { return p.usable(p.floor, maxPort) }

// raised is the least extension of the range that offers need ports: up first, then down.
func (p *portRange) raised(need uint64) (value string, ok bool) {
	low, n := p.low, p.usable(p.low, maxPort)
	for ; n < need && low > p.floor; low-- {
		n += p.usable(low-1, low-1)
	}
	// The kernel prefers ends of different parity (07f4c90062f8) and logs a complaint about others.
	if low%2 == maxPort%2 && low > p.floor {
		low--
	}
	return fmt.Sprintf("%d %d", low, maxPort), n >= need
}

func readClientPorts(h Host) (Reading, error) {
	p, err := readPorts(h)
	if err != nil {
		return Reading{}, err
	}
	r := Reading{Now: p.usable(p.low, p.high)}
	if reserved := p.inRange(); reserved > 0 {
		r.Note = fmt.Sprintf("%d-%d without %d reserved ports", p.low, p.high, reserved)
	}
	return r, nil
}

func (p *portRange) inRange() uint64 { return uint64(p.high-p.low+1) - p.usable(p.low, p.high) }

func readReservedPorts(h Host) (Reading, error) {
	p, err := readPorts(h)
	return Reading{Now: p.inRange(), Idle: true}, err
}
