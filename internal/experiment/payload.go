package experiment

import (
	"cmp"
	"fmt"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/netcfg"
)

// A receiver's buffer holds data and what the kernel has around it. How much of it is data, the kernel finds out as it receives:
// between a third, of frames in a page each, and nine tenths, over loopback. Some kernels begin with a quarter and stay there
// (TCP_DEFAULT_SCALING_RATIO, half since 697a6c8cec03). A quarter is data on all of them.
const shareOfData = 4

// MaxPayload is what fits into the largest buffer, in bytes.
const MaxPayload = netcfg.MostBuffer / shareOfData

func checkBuffers(o *Options) error {
	for _, b := range []struct {
		field string
		bytes int
	}{{"rmem", o.Rmem}, {"wmem", o.Wmem}} {
		if b.bytes != 0 && (b.bytes < netcfg.LeastBuffer || b.bytes > netcfg.MostBuffer) {
			return Invalid(b.field, b.bytes, "want %d to %d bytes", netcfg.LeastBuffer, netcfg.MostBuffer)
		}
	}
	return nil
}

// checkPayload says what is wrong with the payload whatever the host. Whether it fits where nothing is asked for is for fitPayload.
func checkPayload(o *Options) error {
	if o.Payload < 1 || o.Payload > MaxPayload {
		return Invalid("payload", o.Payload, "want 1 to %d bytes, a quarter of the largest socket buffer", MaxPayload)
	}
	if o.Rmem != 0 && o.Payload > o.Rmem/shareOfData && o.sends() {
		return Invalid("payload", o.Payload, "a receive buffer of %d bytes is sure to hold a quarter of that as data; give --rmem %d, or "+
			"--payload %d", o.Rmem, o.Payload*shareOfData, o.Rmem/shareOfData)
	}
	return nil
}

// fitPayload holds the payload against the receive buffers of the network that the run is in, before anything is opened.
func (s *Stage) fitPayload() error {
	p, held := s.plan, false
	for _, role := range []kernel.Role{kernel.RoleClient, kernel.RoleServer} {
		held = held || p.Scenario.Holds(role) && !p.Ends.Elsewhere(role)
	}
	if !held {
		return nil
	}
	receive, _, err := s.network.Buffers()
	if err != nil {
		return err
	}
	payload, room := p.Options.Payload, receive.First/shareOfData
	if payload <= room {
		return nil
	}
	wanted := payload * shareOfData
	way := fmt.Sprintf("give --rmem %d", wanted)
	if !p.Ends.private() {
		way = fmt.Sprintf("on the host that receives, run: sysctl -w net.ipv4.tcp_rmem='%d %d %d'", receive.Least, wanted, max(wanted, receive.Most))
	}
	return fmt.Errorf("--payload %d: a receive buffer here has %d bytes (net.ipv4.tcp_rmem is %v) and is sure to hold a quarter of that "+
		"as data; %s, or --payload %d", payload, receive.First, receive, way, room)
}

// The buffers of a scenario that fills them, where none are asked for: those that the kernel gives a socket to begin with. They do not
// grow then, and the plan knows what they hold.
const (
	filledReceive = 128 << 10
	filledSend    = 16 << 10
)

// buffers are the bytes of a socket's buffers in the run's own network, 0 for what the kernel gives.
func (o *Options) buffers() (receive, send int) {
	receive, send = o.Rmem, o.Wmem
	if o.scenario().Fills() {
		receive, send = cmp.Or(receive, filledReceive), cmp.Or(send, filledSend)
	}
	return receive, send
}

// sends tells whether the payload is to lie in a queue.
func (o *Options) sends() bool {
	s := o.scenario()
	return s.Holds(kernel.RoleClient) || s.Holds(kernel.RoleServer)
}
