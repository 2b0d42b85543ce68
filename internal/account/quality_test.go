package account

import (
	"math"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func TestSamplingErrorIsThatOfABinomialShare(t *testing.T) {
	stacks := []recording.Stack{
		{Role: kernel.RoleClient, Type: "file", Bytes: 750, Samples: 75, Frames: []string{"a"}},
		{Role: kernel.RoleClient, Type: "file", Bytes: 250, Samples: 25, Frames: []string{"b"}},
		{Role: kernel.RoleClient, Type: "tcp_sock", Bytes: 2900, Samples: 40, Frames: []string{"c"}}, // one path: certain
		{Role: kernel.RoleServer, Type: "file", Bytes: 50, Samples: 3, Frames: []string{"0xffffffff81000000"}},
		{Role: kernel.RoleServer, Type: "dentry", Bytes: 50, Frames: []string{notSampled}},
	}
	gotError, gotNamed := stackQuality(stacks)
	// Both paths of the one divided type have the same error.
	want := math.Sqrt(2) * 1000 * math.Sqrt(0.75*0.25/100) / 4000
	if math.Abs(gotError-want) > 1e-12 {
		t.Errorf("error %v, want %v", gotError, want)
	}
	if gotNamed != 3900.0/4000 {
		t.Errorf("%v of the bytes are symbolised, want %v", gotNamed, 3900.0/4000)
	}
	if e, n := stackQuality(nil); e != 0 || n != 0 {
		t.Errorf("no stacks: %v and %v", e, n)
	}
}
