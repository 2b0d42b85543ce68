package report

import (
	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// ObjectTable is the objects of all endpoints together.
type ObjectTable struct {
	Lines        []Object // the costliest first; what is of an endpoint is of the average one
	Object, Page string   // in all
}

// objectTableOf sums the objects of all rows.
func objectTableOf(m *recording.Machine) ObjectTable {
	sum := objectSums(m)
	all := &recording.EndpointRow{Count: m.Count(), Objects: sum}
	for _, o := range sum {
		all.ObjectBytes += o.ObjectBytes
		all.PageBytes += o.PageBytes
	}
	return ObjectTable{objectsOf(all), format.Size(float64(all.ObjectBytes)), format.Size(float64(all.PageBytes))}
}

// objectSums adds up objects by type and cache.
func objectSums(m *recording.Machine) []recording.ObjectRow {
	at := map[[2]string]int{}
	var sum []recording.ObjectRow
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			key := [2]string{o.Type, o.Cache}
			i, known := at[key]
			if !known {
				i = len(sum)
				at[key] = i
				sum = append(sum, recording.ObjectRow{Type: o.Type, Cache: o.Cache})
			}
			sum[i].Count += o.Count
			sum[i].ObjectBytes += o.ObjectBytes
			sum[i].PageBytes += o.PageBytes
		}
	}
	return sum
}
