package experiment

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// presence tells runs on the same host of each other, by sockets in the abstract namespace: the kernel removes them
// with their process.
type presence struct {
	listener net.Listener
	joined   bool // another run was seen
}

const presencePrefix = "connprof.run."

func announce() *presence {
	p := &presence{}
	l, err := net.Listen("unix", fmt.Sprintf("@%s%d", presencePrefix, os.Getpid()))
	if err == nil {
		p.listener = l
	}
	p.company()
	return p
}

// company tells whether another run has been seen, now or before.
func (p *presence) company() bool {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return p.joined
	}
	own := fmt.Sprintf("@%s%d", presencePrefix, os.Getpid())
	for _, line := range strings.Split(string(b), "\n") {
		if i := strings.Index(line, "@"+presencePrefix); i >= 0 && line[i:] != own {
			p.joined = true
		}
	}
	return p.joined
}

func (p *presence) leave() {
	if p.listener != nil {
		_ = p.listener.Close()
	}
}
