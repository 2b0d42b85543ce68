package filter

import (
	"reflect"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
)

func equal(a, b *Fields) bool { return reflect.DeepEqual(a, b) }

func TestAnyOfOneKindAndAllOfDifferentKinds(t *testing.T) {
	for name, c := range map[string]struct {
		plain Plain
		want  bool
	}{
		"nothing asked":           {Plain{}, true},
		"the first process":       {Plain{PIDs: []int{900}}, true},
		"one that shares it":      {Plain{PIDs: []int{5, 901}}, true},
		"another process":         {Plain{PIDs: []int{5}}, false},
		"a name":                  {Plain{Comms: []string{"nginx"}}, true},
		"a part of a name":        {Plain{Comms: []string{"ngin"}}, false},
		"a cgroup":                {Plain{Cgroups: []string{"/system.slice/nginx.service"}}, true},
		"one above":               {Plain{Cgroups: []string{"system.slice/"}}, true},
		"the root":                {Plain{Cgroups: []string{"/"}}, true},
		"a like one":              {Plain{Cgroups: []string{"/system.slice/nginx"}}, false},
		"one below":               {Plain{Cgroups: []string{"/system.slice/nginx.service/a"}}, false},
		"a short ID":              {Plain{Containers: []string{"1f0e3d"}}, true},
		"an empty ID":             {Plain{Containers: []string{""}}, false},
		"another ID":              {Plain{Containers: []string{"a87f"}}, false},
		"a namespace":             {Plain{Netns: []uint32{1, 4026531840}}, true},
		"another namespace":       {Plain{Netns: []uint32{1}}, false},
		"a local port":            {Plain{Ports: []uint16{443}}, true},
		"a remote port":           {Plain{Ports: []uint16{51000}}, true},
		"another port":            {Plain{Ports: []uint16{80}}, false},
		"a state":                 {Plain{States: []kernel.State{kernel.StateListen, kernel.StateEstablished}}, true},
		"another state":           {Plain{States: []kernel.State{kernel.StateListen}}, false},
		"all of different kinds":  {Plain{PIDs: []int{900}, Ports: []uint16{80, 443}, Comms: []string{"nginx"}}, true},
		"one of them is not true": {Plain{PIDs: []int{900}, Ports: []uint16{80}, Comms: []string{"nginx"}}, false},
	} {
		if got := c.plain.Match(sample()); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if (&Plain{Cgroups: []string{"/"}}).Match(&Fields{}) {
		t.Error("an endpoint whose cgroup is not known is below the root")
	}
	if (&Plain{PIDs: []int{0}}).Match(sample()) {
		t.Error("process 0 has it")
	}
}
