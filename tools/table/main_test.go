package main

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func machine(release string, count int, objects ...recording.ObjectRow) *recording.Machine {
	r := &recording.Machine{Host: recording.Host{Kernel: release}}
	row := recording.EndpointRow{Role: kernel.RoleClient, State: "ESTABLISHED", Count: count, Objects: objects}
	for _, o := range objects {
		row.ObjectBytes += o.ObjectBytes
		row.PageBytes += o.PageBytes
	}
	r.Endpoints = append(r.Endpoints, row, recording.EndpointRow{Role: kernel.RoleListener, State: "LISTEN", Count: 1})
	return r
}

func TestARecordingWithoutSuchEndpointsHasAnEmptyColumn(t *testing.T) {
	var out strings.Builder
	write(&out, []*recording.Machine{machine("6.1.0", 1, recording.ObjectRow{Type: "file", ObjectBytes: 256, PageBytes: 256}),
		{Host: recording.Host{Kernel: "7.2.13"}}})
	want := `| client ESTABLISHED | 6.1 | 7.2 |
| --- | ---: | ---: |
| file | 256 / 256 | – |
| **in all** | **256 / 256** | – |
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestRecordingsSideBySide(t *testing.T) {
	old := machine("5.10.0-32-amd64", 10, recording.ObjectRow{Type: "tcp_sock", ObjectBytes: 22400, PageBytes: 23406})
	now := machine("6.18.44", 100,
		recording.ObjectRow{Type: "slabobj_ext", Cache: "kmalloc-192", Count: 15, ObjectBytes: 2880, PageBytes: 2880},
		recording.ObjectRow{Type: "slabobj_ext", Cache: "kmalloc-128", Count: 8, ObjectBytes: 1024, PageBytes: 980},
		recording.ObjectRow{Type: "tcp_sock", ObjectBytes: 236800, PageBytes: 252060})
	var out strings.Builder
	write(&out, []*recording.Machine{old, now})
	want := `| client ESTABLISHED | 5.10 | 6.18 |
| --- | ---: | ---: |
| tcp_sock | 2240 / 2341 | 2368 / 2521 |
| slabobj_ext | – | 39 / 38.6 |
| **in all** | **2240 / 2341** | **2407 / 2559** |
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
