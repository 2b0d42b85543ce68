package experiment

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

// held is what one end of each connection must be made of in a scenario. Types that are not named must not be there.
type held map[string]int

// full is a socket that its process holds in an epoll set; what kernel and security modules add is not compared.
var full = held{"tcp_sock": 1, "socket_alloc": 1, "file": 1, "dentry": 1, "epitem": 1, "eppoll_entry": 1}

func with(h held, more held) held {
	sum := held{}
	for _, m := range []held{h, more} {
		for k, n := range m {
			sum[k] += n
		}
	}
	return sum
}

// compared are the types that every kernel of the matrix has.
var compared = []string{"tcp_sock", "socket_alloc", "file", "dentry", "epitem", "eppoll_entry", "tcp_timewait_sock",
	"tcp_request_sock", "sk_buff_fclones", "skb_head"}

var situations = map[string]struct{ client, server held }{
	"idle":          {full, full},
	"hello":         {full, full},
	"unread":        {full, with(full, held{"sk_buff_fclones": 1, "skb_head": 1})},
	"unread-client": {with(full, held{"sk_buff_fclones": 1, "skb_head": 1}), full},
	"half-closed":   {full, with(full, held{"sk_buff_fclones": 1, "skb_head": 1})}, // the FIN is queued
	"orphaned":      {held{"tcp_timewait_sock": 1}, with(full, held{"sk_buff_fclones": 1, "skb_head": 1})},
	"time-wait":     {held{"tcp_timewait_sock": 1}, nil},
	"syn-recv":      {full, held{"tcp_request_sock": 1}},
	"listen":        {nil, nil},
}

func TestEveryScenarioHoldsWhatItSays(t *testing.T) {
	const n = 300
	for _, s := range load.Scenarios {
		t.Run(s.Name, func(t *testing.T) {
			want, ok := situations[s.Name]
			if !ok {
				t.Fatal("no test knows what this scenario holds")
			}
			o := options(n)
			o.Scenario, o.Payload = s.Name, 4096
			rec := mustRun(t, o)
			if rec.Load.Established != n {
				t.Errorf("%d up, notes %q", rec.Load.Established, rec.Notes)
			}
			checkEnds(t, rec, kernel.RoleClient, s.Client, n, want.client)
			checkEnds(t, rec, kernel.RoleServer, s.Server, n, want.server)
			if s.Listens {
				if got, _ := objectCounts(rec, kernel.RoleListener, "LISTEN"); got != n {
					t.Errorf("%d listeners, want %d", got, n)
				}
			}
			if rec.Losses.WalkSkipped != 0 {
				t.Errorf("losses %+v", rec.Losses)
			}
		})
	}
}

// checkEnds holds one role's rows against what the scenario promises: all n in one state, or none at all.
func checkEnds(t *testing.T, rec *recording.Machine, role kernel.Role, state string, n int, want held) {
	t.Helper()
	for _, row := range rec.Endpoints {
		if row.Role == role && row.State != state {
			t.Errorf("%d %s endpoints in %s", row.Count, role, row.State)
		}
	}
	if state == "" {
		return
	}
	endpoints, objects := objectCounts(rec, role, state)
	if endpoints != n {
		t.Errorf("%d %s endpoints in %s, want %d", endpoints, role, state, n)
	}
	for _, kind := range compared {
		if objects[kind] != n*want[kind] {
			t.Errorf("%s in %s: %d of %s, want %d", role, state, objects[kind], kind, n*want[kind])
		}
	}
}

func TestBuffersAreTheKernelsOwnAccounting(t *testing.T) {
	const n, payload = 100, 8192
	o := options(n)
	o.Scenario, o.Payload = "unread", payload
	rec := mustRun(t, o)
	for _, row := range rec.Endpoints {
		each := int(row.BufferBytes) / row.Count
		switch row.Role {
		case kernel.RoleServer: // the data and what the kernel charges for the skbs around it
			if each < payload || each > 2*payload {
				t.Errorf("%d buffer bytes on each server endpoint with %d bytes unread", each, payload)
			}
		default:
			if each != 0 {
				t.Errorf("%d buffer bytes on each %s endpoint, all of whose data is acknowledged", each, row.Role)
			}
		}
	}
}
