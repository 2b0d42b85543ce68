package check

import (
	"errors"
	"fmt"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// held is what one end of each connection must be made of in a scenario. Types that are not named must not be there.
type held map[string]int

// full is a socket that its process holds in an epoll set; what kernel and security modules add is not compared.
var full = held{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "epitem": 1, "eppoll_entry": 1}

// queued is such a socket with a packet in a queue.
var queued = held{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "epitem": 1, "eppoll_entry": 1,
	"sk_buff_fclones": 1, "skb_head": 1}

// unaccepted is a sock in an accept queue, with the request that it came by and a packet.
var unaccepted = held{"tcp_sock": 1, "tcp_request_sock": 1, "sk_buff_fclones": 1, "skb_head": 1}

// filled is a socket with as many packets as there is room for, at least one.
var filled = held{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "epitem": 1, "eppoll_entry": 1,
	"sk_buff_fclones": some, "skb_head": some}

// some stands for one or more.
const some = -1

// compared are the types that every kernel of the matrix has.
var compared = []string{"tcp_sock", "socket_alloc", "file", "dentry", "epitem", "eppoll_entry", "tcp_timewait_sock",
	"tcp_request_sock", "sk_buff_fclones", "skb_head"}

var situations = map[string]struct{ client, server held }{
	"idle":          {full, full},
	"hello":         {full, full},
	"unread":        {full, queued},
	"unread-client": {queued, full},
	"sendfile":      {full, queued},
	"unaccepted":    {full, unaccepted},
	"backpressure":  {filled, filled},
	"half-closed":   {full, queued}, // the FIN is queued
	"orphaned":      {held{"tcp_timewait_sock": 1}, queued},
	"time-wait":     {held{"tcp_timewait_sock": 1}, nil},
	"syn-recv":      {full, held{"tcp_request_sock": 1}},
	"listen":        {nil, nil},
}

// Scenario wants all ends of a run in the scenario's states, each made of what the scenario promises, and no other endpoint
// but the listeners: one, or as many as were asked for.
func Scenario(m *recording.Machine, s load.Scenario, conns int) error {
	situation, ok := situations[s.Name]
	if !ok {
		return fmt.Errorf("no test knows what scenario %s holds", s.Name)
	}
	want := map[string]int{}
	name := func(role kernel.Role, state string) string { return role.String() + " " + state }
	listeners := 1
	if s.Listens {
		listeners = conns
	}
	want[name(kernel.RoleListener, kernel.StateListen.String())] = listeners
	var errs []error
	for _, end := range []struct {
		role  kernel.Role
		state string
		held  held
	}{{kernel.RoleClient, s.Client, situation.client}, {kernel.RoleServer, s.Server, situation.server}} {
		if end.state == "" {
			continue
		}
		want[name(end.role, end.state)] = conns
		_, objects := Objects(m, end.role, end.state)
		for _, typ := range compared {
			n := end.held[typ]
			if n == some && objects[typ] >= conns {
				continue
			}
			if objects[typ] != conns*n {
				errs = append(errs, fmt.Errorf("%s %s: %d %s, want %d", end.role, end.state, objects[typ], typ, conns*n))
			}
		}
	}
	for _, row := range m.Endpoints {
		at := name(row.Role, row.State)
		if row.Count != want[at] {
			errs = append(errs, fmt.Errorf("%s: %d endpoints, want %d", at, row.Count, want[at]))
		}
		delete(want, at)
	}
	for at, n := range want {
		errs = append(errs, fmt.Errorf("%s: no row, want %d endpoints", at, n))
	}
	return errors.Join(errs...)
}
