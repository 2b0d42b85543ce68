package bpf

import (
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func TestObjectTypesAreThoseOfTheHeader(t *testing.T) {
	header, err := os.ReadFile("connprof.h")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(header), "enum object_type {")
	list, _, _ = strings.Cut(list, "}")
	var names []string
	for _, name := range strings.Split(list, ",") {
		if name = strings.TrimSpace(name); strings.HasPrefix(name, "TYPE_") && !strings.HasPrefix(name, "TYPE_MAX") {
			names = append(names, name)
		}
	}
	if len(names) != kernel.NumObjectTypes-1 { // slabobj_ext is computed
		t.Fatalf("%d types in connprof.h, %d in package kernel", len(names), kernel.NumObjectTypes-1)
	}
	short := map[string]string{"TYPE_BIND_BUCKET": "inet_bind_bucket", "TYPE_BIND2_BUCKET": "inet_bind2_bucket",
		"TYPE_REQUEST_SOCK": "tcp_request_sock", "TYPE_TIMEWAIT_SOCK": "tcp_timewait_sock"}
	for i, name := range names {
		want := strings.ToLower(strings.TrimPrefix(name, "TYPE_"))
		if s, ok := short[name]; ok {
			want = s
		}
		if got := kernel.ObjectType(i).String(); got != want {
			t.Errorf("type %d is %s in connprof.h and %s in package kernel", i, name, got)
		}
	}
}
