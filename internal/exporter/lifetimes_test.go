package exporter

import (
	"math"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/live"
	"github.com/connprof/connprof/internal/recording"
)

// lived is the histogram of some lifetimes in microseconds, as the programs count them.
func lived(t *testing.T, microseconds ...uint64) *dto.Histogram {
	t.Helper()
	c := &live.Counts{Elapsed: time.Hour}
	for _, v := range microseconds {
		c.Lifetimes[min(kernel.Step(v), kernel.LifetimeSteps-1)]++
	}
	s := &Sight{Machine: &recording.Machine{}, Counts: c, At: time.Unix(7200, 0)}
	rows := gather(t, s, "connprof_connection_lifetime_seconds")
	if len(rows) != 1 {
		t.Fatalf("%d histograms", len(rows))
	}
	return rows[0].GetHistogram()
}

// native are the counts of a native histogram by the bucket's number.
func native(h *dto.Histogram) map[int]int64 {
	counts, at, n, next := map[int]int64{}, 0, int64(0), 0
	for _, span := range h.GetPositiveSpan() {
		at += int(span.GetOffset())
		for range span.GetLength() {
			n += h.GetPositiveDelta()[next]
			counts[at] = n
			at, next = at+1, next+1
		}
	}
	return counts
}

// The bucket that a lifetime is in is no further from it than an eighth and the width of a bucket.
func TestANativeBucketIsNearEachLifetimeInIt(t *testing.T) {
	width := math.Pow(2, 1.0/perOctave)
	far := 0.0
	for octave := 2; octave < 37; octave++ {
		for part := range uint64(64) {
			v := uint64(1)<<octave + part<<octave/64
			for bucket := range native(lived(t, v)) {
				upper, seconds := math.Pow(width, float64(bucket)), float64(v)/1e6
				far = max(far, upper/seconds, seconds/(upper/width))
			}
		}
	}
	if bound := width * 9 / 8; far > bound || far < 1.1 {
		t.Errorf("a bound of a bucket is %.4f times a lifetime in it, want %.4f at most", far, bound)
	}
	t.Logf("at most %.4f times", far)
}

func TestEachStepHasANativeBucketOfItsOwn(t *testing.T) {
	of := map[int]int{} // the step of a bucket
	for v := uint64(1); v < 1<<37; v += max(1, v/16) {
		var one [kernel.LifetimeSteps]uint64
		one[kernel.Step(v)] = 7
		buckets, zero, count, _ := nativeLifetimes(&one)
		if len(buckets) != 1 || zero != 0 || count != 7 {
			t.Fatalf("%d microseconds are in %v, %d in all", v, buckets, count)
		}
		for bucket := range buckets {
			if other, known := of[bucket]; known && other != kernel.Step(v) {
				t.Errorf("steps %d and %d are in bucket %d", other, kernel.Step(v), bucket)
			}
			of[bucket] = kernel.Step(v)
		}
	}
	if want := 3 + 4*35; len(of) != want { // 1 to 3 microseconds, and four an octave from 4 on
		t.Errorf("%d buckets, want %d", len(of), want)
	}
}

// The classic buckets have each lifetime that is below their bound, and no other.
func TestClassicBucketsAreExact(t *testing.T) {
	values := []uint64{0, 1, 63, 64, 255, 256, 1023, 1024, 4095, 4096, 999_999, 1 << 20, 1<<20 - 1, 1<<36 - 1, 1 << 36, 1 << 40}
	h := lived(t, values...)
	if len(h.GetBucket()) != 16 {
		t.Errorf("%d classic buckets, want 16", len(h.GetBucket()))
	}
	for _, b := range h.GetBucket() {
		want := uint64(0)
		for _, v := range values {
			if float64(v)/1e6 < b.GetUpperBound() {
				want++
			}
		}
		if b.GetCumulativeCount() != want {
			t.Errorf("%d of %v s at most, want %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
		}
	}
	if h.GetSampleCount() != uint64(len(values)) || h.GetZeroCount() != 1 {
		t.Errorf("%d in all, %d of them none", h.GetSampleCount(), h.GetZeroCount())
	}
	if begun := h.GetCreatedTimestamp().AsTime(); !begun.Equal(time.Unix(3600, 0)) {
		t.Errorf("it counts since %v", begun)
	}
}

func TestTheSumOfLifetimesIsNear(t *testing.T) {
	h := lived(t, 1_000, 2_500_000, 33_000_000)
	if want := 35.501; math.Abs(h.GetSampleSum()-want) > want/8 {
		t.Errorf("a sum of %v s, want %v", h.GetSampleSum(), want)
	}
}
