package kernel

import "math/bits"

// stepsPerOctave is how finely times are counted: a quarter of an octave.
const stepsPerOctave = 4

// Step is the step of a histogram of times that a time is counted in, in whatever unit. The programs count so as well.
func Step(v uint64) int {
	if v < stepsPerOctave {
		return int(v)
	}
	octave := bits.Len64(v) - 1 // 2 or more
	return octave*stepsPerOctave + int(v>>(octave-2))&(stepsPerOctave-1)
}

// StepMiddle is the middle of a step, which no time in it is further from than an eighth.
func StepMiddle(step int) float64 {
	if step < stepsPerOctave {
		return float64(step)
	}
	octave, quarter := step/stepsPerOctave, step%stepsPerOctave
	return float64(uint64(1)<<octave) * (1 + (float64(quarter)+0.5)/stepsPerOctave)
}
