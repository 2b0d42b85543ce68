package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/netcfg"
)

// workload is a server and a client whose requests have a connection each, in a network of their own.
type workload struct {
	name, what string
	// start starts the server, and gives the function that ends it.
	start func() (end func() error, err error)
	// once makes some requests.
	once func() (sample, error)
}

// sample is one measurement: CPU time a request in microseconds, of both ends and of the whole host, and requests a second.
type sample struct{ own, host, rate float64 }

// place is where a workload's processes are.
type place struct {
	network *netcfg.Private
	server  *exec.Cmd
}

func workloads(dir string, seconds int) []workload {
	requests := strconv.Itoa(10_000 * seconds)
	return []workload{
		served("nginx", "nginx, wrk with `Connection: close`", nginx(dir), func(to string) ([]string, reader) {
			return []string{"wrk", "-t", "1", "-c", "32", "-d", strconv.Itoa(seconds) + "s", "-H", "Connection: close",
				"http://" + to + "/"}, requestsIn
		}),
		served("redis", "redis, redis-benchmark -k 0", redis(dir), func(to string) ([]string, reader) {
			host, port, _ := net.SplitHostPort(to)
			return []string{"redis-benchmark", "-h", host, "-p", port, "-k", "0", "-c", "32", "-n", requests, "-t", "set",
				"-q"}, all(requests)
		}),
		served("accept", "a loop of accept() in Go, a client in Go", goServer, func(to string) ([]string, reader) {
			return []string{"/proc/self/exe", acceptLoop, to + "," + requests}, all(requests)
		}),
	}
}

// reader reads the number of requests from what a client has written.
type reader func(text string) (int, error)

func requestsIn(text string) (int, error) {
	for line := range strings.Lines(text) {
		if n, _, ok := strings.Cut(strings.TrimSpace(line), " requests in "); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, fmt.Errorf("wrk says no number of requests: %s", text)
}

func all(requests string) reader { return func(string) (int, error) { return strconv.Atoi(requests) } }

// served makes a workload of a server's command, which is told its address, and a client's.
func served(name, what string, server func(to string) ([]string, error), client func(to string) ([]string, reader)) workload {
	p := &place{}
	var to string
	return workload{name: name, what: what, start: func() (func() error, error) {
		var err error
		if p.network, err = netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 100_000}); err != nil {
			return nil, err
		}
		to = net.JoinHostPort(p.network.Server.String(), "8080")
		args, err := server(to)
		if err == nil {
			err = p.network.Do(freePortsSoon)
		}
		if err == nil {
			err = p.start(args, to)
		}
		if err != nil {
			p.end()
		}
		return func() error { p.end(); return nil }, err
	}, once: func() (sample, error) {
		args, read := client(to)
		return p.measure(args, read)
	}}
}

// start starts the server, and waits until it listens.
func (p *place) start(args []string, to string) error {
	text := &said{}
	p.server = exec.Command(args[0], args[1:]...)
	p.server.Stdout, p.server.Stderr = text, text
	if err := p.network.Start(p.server); err != nil {
		p.server = nil
		return err
	}
	for range 1000 {
		err := p.network.Do(func() error { return reachable(to) })
		if err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s does not listen: %s", args[0], text)
}

// freePortsSoon lets a port be taken again a second after its connection has ended: else a client has none left after some time,
// and the kernel spends its time looking for one.
func freePortsSoon() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse", []byte("1"), 0) }

func reachable(to string) error {
	c, err := net.DialTimeout("tcp", to, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func (p *place) end() {
	if p.server != nil {
		_ = p.server.Process.Signal(unix.SIGTERM)
		_ = p.server.Wait()
	}
	p.network.Close()
}

// measure runs a client to its end.
func (p *place) measure(args []string, read reader) (sample, error) {
	var out bytes.Buffer
	client := exec.Command(args[0], args[1:]...)
	client.Stdout, client.Stderr = &out, &out
	host, server, begun := hostCPU(), processCPU(p.server), time.Now()
	if err := p.network.Start(client); err != nil {
		return sample{}, err
	}
	if err := client.Wait(); err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", args[0], err, &out)
	}
	took := time.Since(begun).Seconds()
	host, server = hostCPU()-host, processCPU(p.server)-server
	n, err := read(out.String())
	if err != nil || n < 1 {
		return sample{}, errors.Join(err, fmt.Errorf("%d requests", n))
	}
	own := server + (client.ProcessState.UserTime() + client.ProcessState.SystemTime()).Seconds()
	return sample{own: 1e6 * own / float64(n), host: 1e6 * host / float64(n), rate: float64(n) / took}, nil
}

// hostCPU is the seconds that all CPUs have been busy since boot.
func hostCPU() float64 {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return 0
	}
	stat, err := fs.Stat()
	if err != nil {
		return 0
	}
	c := stat.CPUTotal
	return c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ
}

// processCPU is the seconds that a process has run.
func processCPU(cmd *exec.Cmd) float64 {
	p, err := procfs.NewProc(cmd.Process.Pid)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return stat.CPUTime()
}

const nginxConfig = `daemon off;
master_process off;
pid DIR/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_timeout 0;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  server { listen TO; return 200 "ok"; }
}
`

func nginx(dir string) func(string) ([]string, error) {
	return func(to string) ([]string, error) {
		file := filepath.Join(dir, "nginx.conf")
		text := strings.NewReplacer("DIR", dir, "TO", to).Replace(nginxConfig)
		return []string{"/usr/sbin/nginx", "-p", dir, "-c", file, "-e", filepath.Join(dir, "nginx.log")},
			os.WriteFile(file, []byte(text), 0o644)
	}
}

func redis(dir string) func(string) ([]string, error) {
	return func(to string) ([]string, error) {
		host, port, err := net.SplitHostPort(to)
		return []string{"redis-server", "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--protected-mode", "no",
			"--dir", dir}, err
	}
}

func goServer(to string) ([]string, error) { return []string{"/proc/self/exe", acceptLoop, to}, nil }

// acceptLoop is the argument that makes this program one of the two ends: ADDRESS serves, ADDRESS,REQUESTS asks.
const acceptLoop = "accept-loop"

func acceptAll(what string) error {
	if to, requests, ok := strings.Cut(what, ","); ok {
		n, err := strconv.Atoi(requests)
		if err != nil {
			return err
		}
		return askAll(to, n)
	}
	listener, err := net.Listen("tcp4", what)
	if err != nil {
		return err
	}
	for {
		c, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(c)
	}
}

func answer(c net.Conn) {
	if line, err := bufio.NewReaderSize(c, 16).ReadString('\n'); err == nil {
		_, _ = io.WriteString(c, line)
	}
	c.Close()
}

// askAll has as many clients as there are processors ask.
func askAll(to string, requests int) error {
	clients := runtime.NumCPU()
	errs := make(chan error, clients)
	for range clients {
		go func() {
			for range requests / clients {
				if err := ask(to); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var all error
	for range clients {
		all = errors.Join(all, <-errs)
	}
	return all
}

func ask(to string) error {
	c, err := net.Dial("tcp4", to)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	_, err = io.ReadAll(c)
	return err
}
