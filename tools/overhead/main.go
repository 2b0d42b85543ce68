// Command overhead measures what the profiler adds to the time and to the CPU time of opening connections, and what the load
// engine makes of the machine beside a plain pair of C programs of the same shape. docs/results/overhead.md shows what it prints.
//
//	go run ./tools/overhead [-rounds N] [-plain] PROGRAM [CONNECTIONS...]
//
// In a round each contender runs once, in an order that turns from round to round: the machine's speed drifts, and who always
// comes first has the colder memory. Before the first round the largest number is opened once, so that the host has given its
// pages. Every round is printed and counts. Ratios are medians over the rounds of the ratios within a round.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clientAddresses is how many addresses all contenders connect from.
const clientAddresses = 20

// defaultSizes are two, from which the fixed part and the slope follow.
var defaultSizes = []string{"20000", "150000"}

func main() {
	rounds := flag.Int("rounds", 7, "run every contender `N` times with each number of connections")
	plain := flag.Bool("plain", false, "compare with the plain C pair, too (built with gcc)")
	flag.Parse()
	sizes := defaultSizes
	if flag.NArg() > 1 {
		sizes = flag.Args()[1:]
	}
	numbers, err := parseSizes(sizes)
	if err != nil || flag.NArg() < 1 || *rounds < 1 {
		fmt.Fprintln(os.Stderr, "usage: overhead [-rounds N] [-plain] PROGRAM [CONNECTIONS...]")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), numbers, *rounds, *plain); err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

func parseSizes(texts []string) ([]int, error) {
	var sizes []int
	for _, text := range texts {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of connections", text)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

func run(program string, sizes []int, rounds int, plain bool) error {
	dir, err := os.MkdirTemp("", "connprof-overhead-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	contenders := connprofs(program, dir)
	if plain {
		pair, err := buildPair(dir)
		if err != nil {
			return err
		}
		contenders = append(contenders, pair)
	}
	warm := sizes[0]
	for _, n := range sizes {
		warm = max(warm, n)
	}
	if _, err := contenders[without].run(warm); err != nil {
		return fmt.Errorf("warm the memory with %d connections: %w", warm, err)
	}
	var all []series
	for _, n := range sizes {
		s, err := measure(contenders, n, rounds)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	fmt.Print("\n", table(all, contenders))
	fmt.Print(lines(all))
	return nil
}

// series is the rounds with one number of connections.
type series struct {
	connections int
	rounds      [][]sample // in each the contenders' samples, in the contenders' order
	others      []float64  // the share of the CPUs that other programs took, by round
}

func measure(contenders []contender, connections, rounds int) (series, error) {
	s := series{connections: connections}
	for i := range rounds {
		round := make([]sample, len(contenders))
		before, begun, own := hostCPU(), time.Now(), 0.0
		for _, who := range order(i, len(contenders)) {
			got, err := contenders[who].run(connections)
			if err != nil {
				return s, fmt.Errorf("%s, %d connections: %w", contenders[who].name, connections, err)
			}
			round[who] = got
			own += got.allCPU
		}
		s.rounds = append(s.rounds, round)
		s.others = append(s.others, othersShare(hostCPU()-before, own, time.Since(begun)))
		fmt.Fprintln(os.Stderr, roundLine(i, connections, contenders, round, s.others[i]))
	}
	return s, nil
}

// order turns: in every round another contender is first, and in every second turn they go backwards.
func order(round, contenders int) []int {
	list := make([]int, contenders)
	for i := range list {
		at := (round + i) % contenders
		if round/contenders%2 == 1 {
			at = contenders - 1 - at
		}
		list[i] = at
	}
	return list
}
