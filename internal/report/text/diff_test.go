package text

import (
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/report/sample"
)

func TestDiffShowsWhatGrewWhatWentAndByHowMuch(t *testing.T) {
	text := diffOf(t, sample.New(), sample.Troubled())
	sample.Has(t, text,
		"153.6 B more than before (+1.9 %, from 8.02 KiB)",
		"kernel 6.18.5 x86_64 6.12.117 x86_64",
		"inet_bind_bucket eventpoll_epi 6.4 0.0 −6.4 gone",
		"tcp_sock TCP 2,520.6 2,680.6 +160.0 +6.3 %",
		"total 4,036.9 4,196.9 +160.0 +4.0 %",
		"unchanged: 3,578.0 B an endpoint",
		"the new recording lost 15 events",
	)
	sample.Has(t, diffOf(t, sample.Troubled(), sample.New()), "153.6 B less than before (−1.8 %, from 8.17 KiB)",
		"inet_bind_bucket eventpoll_epi 0.0 6.4 +6.4 new")
}

func TestRecordingsOfDifferentEndsAreNotCompared(t *testing.T) {
	one := sample.New()
	one.Machines[0].Endpoints = one.Machines[0].Endpoints[:1]
	sample.Has(t, diffOf(t, one, sample.New()), "the recordings do not hold the same ends of a connection")
}

func TestNothingChangedBetweenARecordingAndItself(t *testing.T) {
	text := diffOf(t, sample.New(), sample.New())
	sample.Has(t, text, "One connection costs 8.02 KiB of slab pages nothing changed")
	if unexplained := "+1.0 %"; strings.Contains(strings.ReplaceAll(text, unexplained, ""), "+") {
		t.Errorf("something grew:\n%s", text)
	}
}

func TestRunsOfDifferentSizeDifferInNothingIfAnEndpointCostsTheSame(t *testing.T) {
	sample.Has(t, diffOf(t, sample.Of(6_400), sample.New()), "nothing changed", "20,000, before 6,400")
}
