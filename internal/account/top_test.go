package account

import (
	"slices"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestTopKeepsTheHundredCostliest(t *testing.T) {
	var endpoints []*kernel.Endpoint
	for i := range 1000 { // every buffer size from 0 to 999 once, out of order
		e := client(i)
		e.Buffers.Wmem = uint32(i * 7 % 1000)
		endpoints = append(endpoints, e)
	}
	top := filled(testCaches(), endpoints...).Top
	if len(top) != 100 {
		t.Fatalf("%d endpoints, want 100", len(top))
	}
	for i, e := range top {
		if e.BufferBytes != uint64(999-i) {
			t.Errorf("place %d has %d bytes queued, want %d", i, e.BufferBytes, 999-i)
		}
	}
}

func TestTopWeighsPagesAndBuffersTogether(t *testing.T) {
	queued, heavy := client(1), server(2)
	queued.Buffers.Rmem = uint32(page)
	top := filled(testCaches(), client(0), listener(), heavy, queued).Top
	if top[0].Local != queued.Local.String() || len(top) != 4 {
		t.Errorf("first of %d is %+v, want the one with a page queued", len(top), top[0])
	}
}

func TestOfEqualsTopKeepsTheFirstByAddress(t *testing.T) {
	var endpoints []*kernel.Endpoint
	for i := range 300 {
		endpoints = append(endpoints, client(i))
	}
	slices.Reverse(endpoints)
	top := filled(testCaches(), endpoints...).Top
	for i, e := range top {
		if e.Local != clientAddress(i).String() {
			t.Fatalf("place %d is %s, want %s", i, e.Local, clientAddress(i))
		}
	}
}

func TestATopEndpointIsDescribedWhole(t *testing.T) {
	c := accountedCaches(vectorSite(128))
	e := server(1)
	e.Buffers = kernel.Buffers{Rmem: 100, Wmem: 20, Forward: 4096, Backlog: 3}
	l := NewLedger(0)
	l.Accepted(kernel.EndpointEvent{Sock: e.Sock, PID: 44})
	l.Visit(e, c)
	r := &recording.Machine{}
	l.Fill(r, evidence(c))
	got := r.Top[0]
	if got.Role != kernel.RoleServer || got.State != "ESTABLISHED" ||
		got.Local != "10.0.1.1:5000" || got.Remote != "10.0.0.1:10001" || got.PID != 44 || got.BufferBytes != 123 {
		t.Errorf("%+v", got)
	}
	if len(got.Objects) != 7 || got.Objects["epitem"] != 1 || got.Objects["tcp_sock"] != 1 {
		t.Errorf("objects %v, want 7 types with one each", got.Objects)
	}
	row := rowOf(t, r, kernel.RoleServer, "ESTABLISHED") // of this endpoint alone, its share of a vector included
	if diff := int64(got.PageBytes) - int64(row.PageBytes); diff < -2 || diff > 2 {
		t.Errorf("%d page bytes, the account says %d", got.PageBytes, row.PageBytes)
	}
}
