package cli

import (
	"encoding/csv"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/connprof/connprof/test/check"
)

// endpointList is the CSV of --endpoints.
type endpointList struct {
	header []string
	rows   [][]string
}

func (l endpointList) field(row []string, name string) string {
	return row[slices.Index(l.header, name)]
}

// types are the columns of page bytes by object type.
func (l endpointList) types() (first, beyond int) {
	return slices.Index(l.header, "tcp_sock"), slices.Index(l.header, "object_bytes")
}

func readEndpoints(t *testing.T, j *job) endpointList {
	t.Helper()
	return readEndpointsAt(t, j.path("ep.csv"))
}

func readEndpointsAt(t *testing.T, path string) endpointList {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(string(readFile(t, path)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return endpointList{rows[0], rows[1:]}
}

func TestMainJobListsEveryEndpoint(t *testing.T) {
	list := readEndpoints(t, mainJob(t))
	if len(list.rows) != 2*jobConns+1 {
		t.Fatalf("%d rows, want both ends of %d connections and a listener", len(list.rows), jobConns)
	}
	tuples, roles := map[string]bool{}, map[string]int{}
	for _, row := range list.rows {
		roles[list.field(row, "role")+" "+list.field(row, "state")]++
		tuples[strings.Join(row[2:6], " ")] = true
		traced := list.field(row, "role") == "listener" || list.field(row, "opened_at") != ""
		if list.field(row, "pid") == "0" || list.field(row, "comm") == "" || !traced {
			t.Fatalf("an endpoint without owner or time: %v", row)
		}
	}
	if roles["client ESTABLISHED"] != jobConns || roles["server ESTABLISHED"] != jobConns || roles["listener LISTEN"] != 1 {
		t.Errorf("rows by role and state: %v", roles)
	}
	for tuple := range tuples {
		f := strings.Fields(tuple)
		if f[3] != "0" && !tuples[strings.Join([]string{f[2], f[3], f[0], f[1]}, " ")] {
			t.Fatalf("no other end of %s", tuple)
		}
	}
}

func TestMainJobsEndpointsSumToTheAccount(t *testing.T) {
	j := mainJob(t)
	list := readEndpoints(t, j)
	first, beyond := list.types()
	sums := map[string]float64{}
	for _, row := range list.rows {
		for i := first; i < beyond; i++ {
			sums[list.field(row, "role")+" "+list.header[i]] += number(t, row[i])
		}
	}
	for key, want := range check.PageBytes(j.recording) {
		// The rows have three decimals.
		if got := sums[key]; math.Abs(got-float64(want)) > 0.0005*jobConns+1 {
			t.Errorf("the rows of %s sum to %.1f page bytes, the recording has %d", key, got, want)
		}
	}
}

func TestTypesOfAnEndpointSumToItsPageBytes(t *testing.T) {
	list := readEndpoints(t, mainJob(t))
	first, beyond := list.types()
	for _, row := range list.rows {
		sum := 0.0
		for i := first; i < beyond; i++ {
			sum += number(t, row[i])
		}
		if page := number(t, list.field(row, "page_bytes")); math.Abs(page-sum) > 0.05 {
			t.Fatalf("%.3f page bytes, and %.3f by type: %v", page, sum, row)
		}
	}
}

func number(t testing.TB, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
