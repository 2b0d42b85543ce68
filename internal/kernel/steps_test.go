package kernel

import (
	"math"
	"testing"
	"time"
)

func TestTheMiddleOfAStepIsNearEachTimeInIt(t *testing.T) {
	for _, v := range []uint64{0, 1, 3, 4, 5, 7, 8, 9, 1000, 1023, 1024, 123_456_789, 1 << 36, 1<<37 - 1} {
		if got := StepMiddle(Step(v)); math.Abs(got-float64(v)) > float64(v)/8+0.5 {
			t.Errorf("%d is counted as %v", v, got)
		}
	}
	if Step(1<<36) >= LifetimeSteps {
		t.Errorf("a lifetime of 19 hours has step %d of %d", Step(1<<36), LifetimeSteps)
	}
}

func TestPercentilesOfLifetimes(t *testing.T) {
	var l Lifetimes
	if _, any := l.Percentile(50); any {
		t.Error("none has a median")
	}
	for i, n := range map[time.Duration]uint32{time.Millisecond: 90, time.Second: 9, time.Minute: 1} {
		l[Step(uint64(i.Microseconds()))] = n
	}
	for percent, want := range map[int]time.Duration{50: time.Millisecond, 90: time.Millisecond, 99: time.Second, 100: time.Minute} {
		if got, any := l.Percentile(percent); !any || (got-want).Abs() > want/8 {
			t.Errorf("percentile %d is %v, want %v", percent, got, want)
		}
	}
}
