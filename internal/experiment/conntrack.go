package experiment

import (
	"fmt"
)

// checkConntrack wants a network that connection tracking can be put into.
func checkConntrack(o *Options) error {
	if o.Conntrack && o.NoProfile {
		return Invalid("conntrack", nil, "what it costs is in the account; leave out --no-profile")
	}
	return nil
}

// trackConnections puts connection tracking into the run's network, if that was asked for. The kernel has one bound for all
// networks, and drops what is beyond it.
func (s *Stage) trackConnections() error {
	p := s.plan
	if !p.Options.Conntrack {
		return nil
	}
	most, err := s.network.Track()
	if err != nil {
		return err
	}
	p.tracked = s.network.Tracked
	switch {
	case p.Conns <= most:
		return nil
	case p.Options.Conns == 0:
		p.Lower(most, fmt.Sprintf("net.netfilter.nf_conntrack_max = %d (--conntrack)", most))
		return nil
	}
	return fmt.Errorf("%d connections need net.netfilter.nf_conntrack_max = %d, and it is %d: connection tracking drops the others; "+
		"lower --conns, or run: sysctl -w net.netfilter.nf_conntrack_max=%d", p.Conns, p.Conns, most, p.Conns)
}

// fillTracked writes down how many entries there were.
func (s *Stage) fillTracked() error {
	if s.plan.tracked == nil {
		return nil
	}
	n, err := s.plan.tracked()
	s.machine.Load.Tracked = n
	return err
}
