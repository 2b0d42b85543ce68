package live

import (
	"strconv"

	"github.com/connprof/connprof/internal/filter"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/loader"
)

// Choice chooses endpoints: by plain values, and by an expression. The zero value chooses all.
type Choice struct {
	Plain  filter.Plain
	Filter *filter.Filter // nil for none
}

// Words says what is chosen, for the recording.
func (c Choice) Words() []string {
	var words []string
	add := func(key, value string) { words = append(words, key+"="+value) }
	p := &c.Plain
	for _, pid := range p.PIDs {
		add("pid", strconv.Itoa(pid))
	}
	for _, comm := range p.Comms {
		add("comm", comm)
	}
	for _, cgroup := range p.Cgroups {
		add("cgroup", cgroup)
	}
	for _, id := range p.Containers {
		add("container", id)
	}
	for _, netns := range p.Netns {
		add("netns", strconv.Itoa(int(netns)))
	}
	for _, port := range p.Ports {
		add("port", strconv.Itoa(int(port)))
	}
	for _, state := range p.States {
		add("state", state.String())
	}
	if c.Filter != nil {
		words = append(words, c.Filter.String())
	}
	return words
}

// all tells whether nothing is left out.
func (c Choice) all() bool {
	p := &c.Plain
	return c.Filter == nil && len(p.PIDs)+len(p.Comms)+len(p.Cgroups)+len(p.Containers)+len(p.Netns)+len(p.Ports)+len(p.States) == 0
}

// asked is what of it the walk can tell by itself.
func (c Choice) asked() loader.Asked {
	return loader.Asked{Netns: c.Plain.Netns, Ports: c.Plain.Ports, States: c.Plain.States}
}

// chosen tells whether an endpoint is chosen. An expression that cannot be worked out for it is an error.
func (l *look) chosen(e *kernel.Endpoint) (bool, error) {
	c, f := &l.options.Choice, &l.fields
	if c.Filter == nil {
		filter.Of(f, e)
	} else {
		c.Filter.Of(f, e)
	}
	role := l.ledger.Role(e)
	f.Role = role.String()
	if _, who := l.ledger.OwnerOf(e); who != nil {
		f.PIDs, f.Comm, f.Cgroup, f.Container = who.PIDs, who.Comm, who.Cgroup, who.Container
		if len(who.PIDs) > 0 {
			f.PID, f.UID = who.PIDs[0], int(who.UID)
		}
	}
	if !c.Plain.Match(f) {
		return false, nil
	}
	if c.Filter == nil {
		return true, nil
	}
	f.PageBytes = int(l.ledger.PageBytes(e, l.caches))
	return c.Filter.Match(f)
}
