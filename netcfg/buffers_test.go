package netcfg

import "testing"

func TestBuffersAreSetInThePrivateNetworkAlone(t *testing.T) {
	host := newPrivate(t, Config{ClientAddresses: 1, Sockets: 2})
	receive, send, err := host.Buffers()
	if err != nil {
		t.Fatal(err)
	}
	p := newPrivate(t, Config{ClientAddresses: 1, Sockets: 2, ReceiveBuffer: 300_000, SendBuffer: 70_000})
	r, s, err := p.Buffers()
	if want := (Buffer{4096, 300_000, 300_000}); err != nil || r != want || s != (Buffer{4096, 70_000, 70_000}) {
		t.Errorf("receive %v, send %v, %v", r, s, err)
	}
	one := newPrivate(t, Config{ClientAddresses: 1, Sockets: 2, ReceiveBuffer: 300_000})
	if r, s, err := one.Buffers(); err != nil || r.First != 300_000 || s != send {
		t.Errorf("receive %v, send %v, %v; want the kernel's %v to send", r, s, err, send)
	}
	if r, s, err := host.Buffers(); err != nil || r != receive || s != send {
		t.Errorf("another network has %v and %v now, and had %v and %v", r, s, receive, send)
	}
}
