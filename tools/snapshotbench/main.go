// Command snapshotbench times connprof snapshot beside ss on the same sockets: 100,000 of them in three network namespaces and 200
// processes of its own. It interleaves the two and prints medians and ratios. The first argument is the connprof to time.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/netcfg"
)

// holder is the argument that makes this program one of the 200.
const holder = "hold-connections"

func main() {
	if len(os.Args) == 3 && os.Args[1] == holder {
		n, err := strconv.Atoi(os.Args[2])
		if err == nil {
			err = hold(n)
		}
		exit(err)
	}
	sockets := flag.Int("sockets", 100_000, "sockets, both ends counted")
	processes := flag.Int("processes", 200, "processes that have them")
	namespaces := flag.Int("namespaces", 3, "network namespaces that they are in")
	pairs := flag.Int("pairs", 5, "measurements of each")
	flag.Parse()
	if flag.NArg() != 1 {
		exit(fmt.Errorf("usage: snapshotbench [flags] CONNPROF"))
	}
	exit(bench(flag.Arg(0), *sockets, *processes, *namespaces, *pairs))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "snapshotbench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold opens connections to itself, says so on standard output, and keeps them until standard input ends.
func hold(connections int) error {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(listener, 16); err != nil {
		return err
	}
	to, err := unix.Getsockname(listener)
	if err != nil {
		return err
	}
	for range connections {
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(client, to); err != nil {
			return err
		}
		if _, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC); err != nil {
			return err
		}
	}
	fmt.Println("up")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// world is the processes that hold the sockets.
type world struct {
	networks []*netcfg.Private
	ends     []io.Closer
	commands []*exec.Cmd
}

func (w *world) close() {
	for _, end := range w.ends {
		_ = end.Close()
	}
	for _, cmd := range w.commands {
		_ = cmd.Wait() // it ends with its standard input
	}
	for _, n := range w.networks {
		n.Close()
	}
}

func newWorld(sockets, processes, namespaces int) (*world, error) {
	w := &world{}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for range namespaces {
		n, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: sockets})
		if err != nil {
			w.close()
			return nil, err
		}
		w.networks = append(w.networks, n)
	}
	for i := range processes {
		if err := w.start(w.networks[i%namespaces], self, sockets/processes/2); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func (w *world) start(n *netcfg.Private, self string, connections int) error {
	cmd := exec.Command(self, holder, strconv.Itoa(connections))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.Start(cmd); err != nil {
		return err
	}
	w.ends, w.commands = append(w.ends, in), append(w.commands, cmd)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("a process that holds connections ended early: %w", err)
	}
	return nil
}

// cost is what one command took.
type cost struct{ wall, cpu time.Duration }

func timed(run func(*exec.Cmd) error, name string, args ...string) (cost, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	begun := time.Now()
	if err := run(cmd); err != nil {
		return cost{}, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	if err := cmd.Wait(); err != nil {
		return cost{}, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return cost{time.Since(begun), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

func bench(connprof string, sockets, processes, namespaces, pairs int) error {
	r, err := measure(connprof, nil, pairs)
	if err != nil {
		return err
	}
	r.print("what is here")
	w, err := newWorld(sockets, processes, namespaces)
	if err != nil {
		return err
	}
	defer w.close()
	if r, err = measure(connprof, w.networks[0], pairs); err != nil {
		return err
	}
	r.print(fmt.Sprintf("%d sockets, %d processes, %d network namespaces", sockets, processes, namespaces))
	return nil
}

// result is what one command took, measurement by measurement.
type result struct{ own, other []cost }

// measure times both in turn. ss sees one namespace, connprof all.
func measure(connprof string, network *netcfg.Private, pairs int) (r result, err error) {
	here := func(cmd *exec.Cmd) error { return cmd.Start() }
	there := here
	if network != nil {
		there = network.Start
	}
	for i := range pairs + 1 {
		own, err := timed(here, connprof, "snapshot")
		if err != nil {
			return r, err
		}
		other, err := timed(there, "ss", "-tanpeim")
		if err != nil {
			return r, err
		}
		if i > 0 { // the first calibrates, and fills the kernel's caches
			r.own, r.other = append(r.own, own), append(r.other, other)
		}
	}
	return r, nil
}

func wall(c cost) float64 { return c.wall.Seconds() }
func cpu(c cost) float64  { return c.cpu.Seconds() }

// ratio is how many times as long ss takes.
func (r result) ratio(of func(cost) float64) float64 { return median(r.other, of) / median(r.own, of) }

func (r result) print(what string) {
	fmt.Printf("%s, medians of %d interleaved pairs\n  connprof snapshot   %.3f s, CPU %.3f s   all namespaces\n"+
		"  ss -tanpeim         %.3f s, CPU %.3f s   one namespace\n  ss / connprof       %.1f, CPU %.1f\n", what, len(r.own),
		median(r.own, wall), median(r.own, cpu), median(r.other, wall), median(r.other, cpu), r.ratio(wall), r.ratio(cpu))
}

func median(list []cost, of func(cost) float64) float64 {
	values := make([]float64, len(list))
	for i, c := range list {
		values[i] = of(c)
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}
