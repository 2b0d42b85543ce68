package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func others(endpoints ...*kernel.Endpoint) *Others {
	o := NewOthers()
	for _, e := range endpoints {
		o.Visit(e)
	}
	return o
}

// pageBytes is what the account has for these endpoints.
func pageBytes(c *Caches, endpoints ...*kernel.Endpoint) (sum int64) {
	for _, row := range filled(c, endpoints...).Endpoints {
		sum += int64(row.PageBytes)
	}
	return sum
}

// Others cost what the run's own would.
func TestOthersExplainWhatTheyMadeSlabMemoryGrowBy(t *testing.T) {
	c := testCaches()
	mine := []*kernel.Endpoint{client(1), server(1)}
	before := []*kernel.Endpoint{client(10), server(10), client(11)}
	after := []*kernel.Endpoint{client(11), server(12), server(13), server(14), server(15), client(16)}
	wantOthers := pageBytes(c, after...) - pageBytes(c, before...)
	for name, ends := range map[string]struct {
		before, after []*kernel.Endpoint
		want          int64
	}{"they become more": {before, after, wantOthers}, "they become fewer": {after, before, -wantOthers}} {
		ev := evidence(c)
		ev.OthersBefore, ev.OthersAfter = others(ends.before...), others(ends.after...)
		ev.After.SlabBytes = ev.Before.SlabBytes + uint64(pageBytes(c, mine...)+ends.want)
		r := &recording.Machine{}
		visited(c, mine...).Fill(r, ev)
		rec := r.Reconcile
		if o := rec.Others; o == nil || o.SocketsBefore != len(ends.before) || o.SocketsAfter != len(ends.after) ||
			o.PageBytes < ends.want-2 || o.PageBytes > ends.want+2 {
			t.Errorf("%s: %+v, want %d before, %d after, %d bytes", name, o, len(ends.before), len(ends.after), ends.want)
		}
		if left := rec.Unexplained() + rec.ReusedBytes; left < -2 || left > 2 || rec.UnexplainedRatio != rec.Ratio() {
			t.Errorf("%s: %d of %d bytes unexplained", name, left, rec.SlabDeltaBytes)
		}
		objects := map[string]int64{}
		for _, row := range rec.Caches {
			objects[row.Cache] = row.OthersObjects
		}
		if want := int64(len(ends.after) - len(ends.before)); objects["TCP"] != want {
			t.Errorf("%s: %d socks, want %d", name, objects["TCP"], want)
		}
	}
}

func TestOthersThatWereNotCountedAreNotToldOf(t *testing.T) {
	c := testCaches()
	for _, ev := range []Evidence{{}, {OthersBefore: others(client(1))}, {OthersAfter: others(client(1))}} {
		whole := evidence(c)
		whole.OthersBefore, whole.OthersAfter = ev.OthersBefore, ev.OthersAfter
		r := &recording.Machine{}
		visited(c, client(2)).Fill(r, whole)
		if r.Reconcile.Others != nil {
			t.Errorf("%+v of others of whom one moment is not known", r.Reconcile.Others)
		}
	}
}
