package report_test

import (
	"fmt"
	"log"

	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
)

// A report needs a recording and nothing else: no root, and not the machine that was measured.
func Example() {
	rec, err := recording.ReadFile("../recording/testdata/v1/idle.json.gz")
	if err != nil {
		log.Fatal(err)
	}
	r := report.New(rec)
	fmt.Println(r.Answer.Sentence)
	for _, end := range r.Ends {
		fmt.Println(end.Role, end.State, end.Count)
	}
	// Output:
	// One connection costs 8.14 KiB of slab pages
	// client ESTABLISHED 200
	// server ESTABLISHED 200
}
