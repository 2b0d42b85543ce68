// Command scale runs connprof with more and more connections and prints what grows: one row a run, as Markdown, and a
// chart as SVG. docs/results/scale.md shows what it prints.
//
//	go run ./tools/scale [-chart FILE] PROGRAM [CONNECTIONS...]
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// sizes are the default numbers of connections.
var sizes = []string{"10000", "50000", "100000", "250000", "500000", "1000000"}

func main() {
	chart := flag.String("chart", "", "write a chart to this `FILE`")
	flag.Parse()
	if flag.NArg() < 1 {
		fmt.Fprintln(os.Stderr, "usage: scale [-chart FILE] PROGRAM [CONNECTIONS...]")
		os.Exit(2)
	}
	conns := flag.Args()[1:]
	if len(conns) == 0 {
		conns = sizes
	}
	if err := measure(flag.Arg(0), conns, *chart); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func measure(program string, conns []string, chart string) error {
	dir, err := os.MkdirTemp("", "connprof-scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Print(header)
	var points []point
	for _, n := range conns {
		p, err := runOne(program, n, filepath.Join(dir, "rec.json"))
		if err != nil {
			return fmt.Errorf("%s connections: %w", n, err)
		}
		fmt.Println(p.row())
		points = append(points, p)
	}
	if chart == "" {
		return nil
	}
	return os.WriteFile(chart, []byte(draw(points)), 0o644)
}

// point is what one run was like. Times are seconds.
type point struct {
	*recording.Machine
	// tearDown is from the printed account to the command's end; memoryBack from there until Slab was within 3 % of
	// what it was before.
	tearDown, memoryBack float64
}

func runOne(program, conns, file string) (point, error) {
	before, err := kernel.ReadMeminfo()
	if err != nil {
		return point{}, err
	}
	cmd := exec.Command(program, "run", "--ips", "20", "--conns", conns, "-o", file)
	progress, err := cmd.StderrPipe()
	if err != nil {
		return point{}, err
	}
	if err := cmd.Start(); err != nil {
		return point{}, err
	}
	var printed time.Time
	last := ""
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		last = lines.Text()
		if strings.HasPrefix(last, "wrote ") {
			printed = time.Now()
		}
	}
	if err := cmd.Wait(); err != nil {
		return point{}, fmt.Errorf("%w: %s", err, last)
	}
	p := point{tearDown: time.Since(printed).Seconds()}
	p.memoryBack = untilBack(before["Slab"])
	rec, err := recording.ReadFile(file)
	if err != nil {
		return point{}, err
	}
	p.Machine = rec.Machines[0]
	return p, nil
}

// untilBack waits until Slab is within 3 % of before, for a minute at most.
func untilBack(before uint64) float64 {
	begun := time.Now()
	for time.Since(begun) < time.Minute {
		if info, err := kernel.ReadMeminfo(); err == nil && info["Slab"] <= before+before*3/100 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begun).Seconds()
}

const header = `| connections | established | connections/s | last tenth | seconds to the last | account s | of it walk s | bytes a connection | profiler MiB | bytes an endpoint of it | load B a connection | unexplained | tear-down s | memory back s |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
`

func (p point) row() string {
	l, c := p.Load, &p.Cost
	n := float64(l.Established)
	profiler := float64(c.ProfilerRSSBytes + c.BPFMapBytes)
	return fmt.Sprintf("| %s | %s | %s | %.2f | %.1f | %.2f | %.2f | %.0f | %.0f | %.0f | %.0f | %.2f %% | %.1f | %.1f |",
		thousands(l.Requested), thousands(l.Established), thousands(int(l.ConnectsPerSecond)), p.lastTenth(),
		l.FirstConnectSeconds+l.ConnectSeconds, c.AccountSeconds, c.WalkSeconds, p.pageBytes()/n, profiler/(1<<20),
		profiler/(2*n), float64(l.ProcessRSSBytes)/n, 100*p.Reconcile.UnexplainedRatio, p.tearDown, p.memoryBack)
}

func (p point) pageBytes() float64 {
	sum := 0.0
	for _, row := range p.Endpoints {
		if row.Role != kernel.RoleListener {
			sum += float64(row.PageBytes)
		}
	}
	return sum
}

// lastTenth is the rate over the last tenth of the connections over the rate over the first.
func (p point) lastTenth() float64 {
	n := float64(p.Load.Established)
	first := p.when(n/10) - p.Load.FirstConnectSeconds
	last := p.when(n) - p.when(n*9/10)
	if last <= 0 {
		return 0
	}
	return first / last
}

// when is the second at which so many were up, between two looks in proportion.
func (p point) when(up float64) float64 {
	beforeAt, beforeUp := p.Load.FirstConnectSeconds, 0.0
	for _, t := range p.Load.Timeline {
		if n := float64(t.Established); n >= up && n > beforeUp {
			return beforeAt + (t.Seconds-beforeAt)*(up-beforeUp)/(n-beforeUp)
		}
		beforeAt, beforeUp = t.Seconds, float64(t.Established)
	}
	return beforeAt
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
