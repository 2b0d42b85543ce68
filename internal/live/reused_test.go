package live

import (
	"net/netip"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

// What has the memory of a connection whose close was not seen is not that connection.
func TestASockThatIsAnotherConnectionsByNow(t *testing.T) {
	const port = 8090
	for _, c := range []struct {
		remote   string
		is       bool
		whatItIs string
	}{
		{"127.0.0.1:8090", true, "the connection"},
		{"[::1]:8090", true, "the connection"},
		{"0.0.0.0:0", true, "the connection, no longer connected"},
		{"127.0.0.1:40000", false, "the server's end of another one"},
	} {
		r := &record{open: map[uint64]kernel.OpenSocket{1: {PeerPort: port}}, others: map[uint64]struct{}{}}
		e := &kernel.Endpoint{Sock: 1, Remote: netip.MustParseAddrPort(c.remote)}
		r.sight(e)
		_, is := r.opened(e)
		if _, other := r.others[1]; is != c.is || other == c.is {
			t.Errorf("%s, which is %s: taken for the connection: %v, for another one: %v", c.remote, c.whatItIs, is, other)
		}
	}
	r := &record{open: map[uint64]kernel.OpenSocket{}, others: map[uint64]struct{}{}}
	e := &kernel.Endpoint{Sock: 2}
	r.sight(e)
	if _, is := r.opened(e); is || len(r.others) > 0 {
		t.Error("a sock that was never seen to open is taken for a connection")
	}
}
