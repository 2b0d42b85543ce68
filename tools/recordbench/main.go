// Command recordbench measures what connprof record adds to the CPU time of a request that opens a connection of its own: nginx
// under wrk, redis under redis-benchmark, and a plain loop of accept() in Go. docs/results/record.md shows what it prints.
//
//	recordbench [-rounds N] [-seconds N] [-only WORKLOAD] CONNPROF
//
// In a round each watcher watches once, nobody among them, in an order that turns from round to round. Every round is printed
// and counts. A watcher's extra is the median over the rounds of what it adds to the same round's figure without one.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == acceptLoop {
		exit(acceptAll(os.Args[2]))
	}
	rounds := flag.Int("rounds", 11, "measure with every watcher `N` times")
	seconds := flag.Int("seconds", 3, "of wrk's, for each measurement; the others do about as much")
	only := flag.String("only", "", "the one `WORKLOAD` to measure: nginx, redis or accept")
	flag.Parse()
	if flag.NArg() != 1 || *rounds < 1 || *seconds < 1 {
		fmt.Fprintln(os.Stderr, "usage: recordbench [-rounds N] [-seconds N] [-only nginx|redis|accept] CONNPROF")
		os.Exit(2)
	}
	exit(run(flag.Arg(0), *rounds, *seconds, *only))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "recordbench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(connprof string, rounds, seconds int, only string) error {
	dir, err := os.MkdirTemp("", "connprof-recordbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	watchers := available(watchersOf(connprof, dir))
	var all []series
	for _, w := range workloads(dir, seconds) {
		if only != "" && only != w.name {
			continue
		}
		s, err := w.measure(watchers, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return fmt.Errorf("no workload is called %q", only)
	}
	fmt.Print(table(all, watchers))
	return nil
}

// measure starts the workload's server, and measures with each watcher in turn.
func (w workload) measure(watchers []watcher, rounds int) (s series, err error) {
	s.workload = w
	end, err := w.start()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if _, err := w.once(); err != nil { // the first fills caches
		return s, err
	}
	for i := range rounds {
		round := make([]sample, len(watchers))
		for _, who := range order(i, len(watchers)) {
			if round[who], err = watched(watchers[who], w.once); err != nil {
				return s, fmt.Errorf("%s: %w", watchers[who].name, err)
			}
		}
		s.rounds = append(s.rounds, round)
		fmt.Fprintln(os.Stderr, roundLine(i, w, watchers, round))
	}
	return s, nil
}

// order turns: in every round another one is first, and in every second turn they go backwards.
func order(round, n int) []int {
	list := make([]int, n)
	for i := range list {
		at := (round + i) % n
		if round/n%2 == 1 {
			at = n - 1 - at
		}
		list[i] = at
	}
	return list
}

// watched measures while a watcher watches.
func watched(w watcher, once func() (sample, error)) (sample, error) {
	end, err := w.begin()
	if err != nil {
		return sample{}, err
	}
	s, err := once()
	return s, errors.Join(err, end())
}

func roundLine(i int, w workload, watchers []watcher, round []sample) string {
	var parts []string
	for at, s := range round {
		parts = append(parts, fmt.Sprintf("%s %.2f of both ends, %.2f of the host, %.0f a second", watchers[at].name, s.own,
			s.host, s.rate))
	}
	return fmt.Sprintf("%s, round %d, CPU µs a request: %s", w.name, i+1, strings.Join(parts, "; "))
}
