package exporter

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/connprof/connprof/internal/kernel"
)

var lifetime = desc("connection_lifetime_seconds", "How long ends of connections were open that were opened and closed since "+
	"the exporter has started. The sum is good to an eighth.")

const (
	// lifetimeSchema has buckets that grow by 2^(1/8). The programs count in quarters of an octave of microseconds, equally wide:
	// they grow by 1.14 to 1.25, and no native buckets have their bounds. These are narrower than each step, so that no two steps
	// fall into one, and the middle of a step says which it is.
	lifetimeSchema = 3
	perOctave      = 1 << lifetimeSchema
	// lifetimeZero is a bound of buckets of every schema, just below a microsecond, which the programs count as none.
	lifetimeZero = 1.0 / (1 << 20)
	// Classic buckets, for who does not take native ones, are of two octaves each: from 64 microseconds to 19 hours.
	firstClassic, lastClassic, classicOctaves = 6, 36, 2
)

// lifetimes is the histogram of lifetimes, as native buckets and as classic ones. The classic ones are exact: their bounds are
// those of steps.
func (s *Sight) lifetimes() prometheus.Metric {
	native, zero, count, sum := nativeLifetimes(&s.Counts.Lifetimes)
	m, err := prometheus.NewConstNativeHistogram(lifetime, count, sum, native, nil, zero, lifetimeSchema, lifetimeZero,
		s.At.Add(-s.Counts.Elapsed))
	if err != nil {
		return prometheus.NewInvalidMetric(lifetime, err)
	}
	return both{m, classicLifetimes(&s.Counts.Lifetimes)}
}

// nativeLifetimes puts each step into the bucket that its middle is in.
func nativeLifetimes(steps *[kernel.LifetimeSteps]uint64) (buckets map[int]int64, zero, count uint64, sum float64) {
	buckets = map[int]int64{}
	for step, n := range steps {
		if n == 0 {
			continue
		}
		count += n
		if step == 0 {
			zero = n
			continue
		}
		seconds := kernel.StepMiddle(step) * time.Microsecond.Seconds()
		sum += float64(n) * seconds
		buckets[int(math.Ceil(math.Log2(seconds)*perOctave))] += int64(n)
	}
	return buckets, zero, count, sum
}

// classicLifetimes has how many lifetimes were not longer than each bound.
func classicLifetimes(steps *[kernel.LifetimeSteps]uint64) []*dto.Bucket {
	var list []*dto.Bucket
	below, at := uint64(0), 0
	for octave := firstClassic; octave <= lastClassic; octave += classicOctaves {
		for end := kernel.Step(1 << octave); at < end; at++ {
			below += steps[at]
		}
		n, bound := below, float64(uint64(1)<<octave)/1e6
		list = append(list, &dto.Bucket{CumulativeCount: &n, UpperBound: &bound})
	}
	return list
}

// both is a native histogram that has classic buckets as well.
type both struct {
	prometheus.Metric
	classic []*dto.Bucket
}

// Write is part of prometheus.Metric.
func (b both) Write(to *dto.Metric) error {
	if err := b.Metric.Write(to); err != nil {
		return err
	}
	to.Histogram.Bucket = slices.Clone(b.classic)
	return nil
}
