package report

import "github.com/connprof/connprof/internal/recording"

// Timeline is the course of a run on one machine.
type Timeline struct {
	Label  string // whose, empty where there is one machine
	Points []recording.TimelinePoint
}

// timelinesOf are the courses of all machines, or one where they share the kernel whose memory it shows. A point is no
// course.
func timelinesOf(r *recording.Recording) []Timeline {
	machines := reconciled(r)
	if len(machines) == 0 {
		machines = all(r)
	}
	var list []Timeline
	for _, m := range machines {
		if m.Load != nil && len(m.Load.Timeline) > 1 {
			list = append(list, Timeline{m.label, m.Load.Timeline})
		}
	}
	return list
}
