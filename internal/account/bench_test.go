package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

// BenchmarkVisit enters walked endpoints into the ledger; an operation is one endpoint.
func BenchmarkVisit(b *testing.B) {
	const endpoints = 20_000
	same := func(e *kernel.Endpoint) *kernel.Endpoint { return e }
	owners := OwnersByFile{}
	workers := make([]Owner, 200)
	for i := range endpoints / 2 {
		owners[client(i).File], owners[server(i).File] = &workers[i/100], &workers[100+i/100]
	}
	for name, bench := range map[string]struct {
		by      Grouping
		prepare func(*kernel.Endpoint) *kernel.Endpoint
	}{
		"no groups":              {Grouping{}, same},
		"no groups and no marks": {Grouping{}, unmarked},
		"200 owners":             {Grouping{Owners: owners, Netns: true, Listener: true, Service: true}, same},
	} {
		b.Run(name, func(b *testing.B) {
			list := make([]*kernel.Endpoint, 0, endpoints)
			for i := range endpoints / 2 {
				list = append(list, withBucket(bench.prepare(client(i)), uint64(1+i/20), false), bench.prepare(server(i)))
			}
			c, l := testCaches(), NewLedger(endpoints)
			l.GroupBy(bench.by)
			l.Visit(listener(), c)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				l.Visit(list[i%endpoints], c)
				i++
			}
		})
	}
}

// BenchmarkOpened enters the events of new endpoints; an operation is one event.
func BenchmarkOpened(b *testing.B) {
	const endpoints = 1 << 20
	l := NewLedger(endpoints)
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		l.Opened(kernel.EndpointEvent{Sock: 0xffff888100000000 + i%endpoints*4096, Role: kernel.RoleClient, PID: 1,
			Nanoseconds: i})
		i++
	}
}

// BenchmarkSampleAdd enters samples whose stacks are mostly known already; an operation is one sample.
func BenchmarkSampleAdd(b *testing.B) {
	list, m := socketSamples(), samples{}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m.add(list[i%len(list)], false)
		i++
	}
}
