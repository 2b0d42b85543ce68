package experiment

import (
	"os/exec"
	"testing"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/load"
	"github.com/connprof/connprof/loader"
	"github.com/connprof/connprof/netcfg"
)

// BenchmarkConnectsBesideAWalk opens connections in stretches, every other one while all endpoints are walked again and
// again. Its ratio is the rate beside a walk over the rate without.
func BenchmarkConnectsBesideAWalk(b *testing.B) {
	const held, stretch = 100_000, 10_000
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 20, Sockets: 1_000_000})
	if err != nil {
		b.Fatal(err)
	}
	defer network.Close()
	probes, err := loader.Load(loader.Config{Scope: loader.InNetns(network.Inode())})
	if err != nil {
		b.Fatal(err)
	}
	defer probes.Close()
	if err := probes.LeaveAllocations(); err != nil {
		b.Fatal(err)
	}
	engine, err := load.Start(load.Config{End: kernel.RoleBoth, Clients: network.Clients, Server: network.Server, Ports: []uint16{firstServerPort},
		Connections: 1_000_000, Backlog: netcfg.Backlog, Timeout: time.Minute}, func(c *exec.Cmd) error { return network.Start(c) })
	if err != nil {
		b.Fatal(err)
	}
	defer engine.End()
	up := 0
	open := func(n int) time.Duration {
		up += n
		begun := time.Now()
		engine.Limit(up)
		for engine.Progress().Up() < up {
			time.Sleep(200 * time.Microsecond)
		}
		return time.Since(begun)
	}
	if err := engine.Begin(); err != nil {
		b.Fatal(err)
	}
	open(held)
	var alone, beside time.Duration
	walks := 0
	for b.Loop() {
		alone += open(stretch)
		stop, stopped := make(chan struct{}), make(chan error)
		go func() {
			for {
				if err := probes.Walk(func(*kernel.Endpoint) error { return nil }, network); err != nil {
					stopped <- err
					return
				}
				walks++
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
			}
		}()
		time.Sleep(5 * time.Millisecond) // the walk has begun
		beside += open(stretch)
		close(stop)
		if err := <-stopped; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(alone.Seconds()/beside.Seconds(), "rate-beside/alone")
	b.ReportMetric(float64(walks)/float64(b.N), "walks/op")
}
