// Command ownservers has connprof run make connections to real servers, and prints what one costs each as a Markdown table:
// docs/results/own-servers.md. Each server is started by connprof, in the run's own network. A figure is the median of the rounds.
//
//	ownservers [-conns N] [-rounds N] [-page FILE] CONNPROF
//
// With -page the table goes into the page, between its markers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/load"
)

func main() {
	conns := 20_000
	flag.Func("conns", "connections to each server, such as 20k (the default)", func(text string) (err error) {
		conns, err = strconv.Atoi(strings.Replace(text, "k", "000", 1))
		return err
	})
	rounds := flag.Int("rounds", 3, "runs of each")
	page := flag.String("page", "", "write the table into this `FILE`")
	flag.Parse()
	if flag.NArg() != 1 || conns < 1 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), conns, *rounds, *page); err != nil {
		fmt.Fprintln(os.Stderr, "ownservers:", err)
		os.Exit(1)
	}
}

// The part of a page between these two lines is the table.
const (
	blockBegin = "<!-- begin: written by make own-servers -->\n"
	blockEnd   = "<!-- end: written by make own-servers -->"
)

func run(connprof string, conns, rounds int, page string) error {
	var table strings.Builder
	if err := measure(connprof, conns, rounds, &table); err != nil || page == "" {
		_, printed := fmt.Print(table.String())
		return errors.Join(err, printed)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), blockBegin)
	_, after, ends := strings.Cut(rest, blockEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no %s and %s", page, strings.TrimSpace(blockBegin), blockEnd)
	}
	return os.WriteFile(page, []byte(before+blockBegin+table.String()+blockEnd+after), 0o644)
}

// server is a real one.
type server struct {
	name    string
	command []string
	send    string
	expect  string
	most    int // connections; 0: as many as are asked for
}

const (
	request = `GET / HTTP/1.1\r\nHost: server\r\n\r\n`
	page    = `200 OK.*hello\n$`
)

// postgresMost is for a server that has a process for each connection: 20,000 would take a host's memory.
const postgresMost = 500

func measure(connprof string, conns, rounds int, to io.Writer) error {
	folder, err := os.MkdirTemp("", "connprof-servers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	servers, err := prepare(folder, conns)
	if err != nil {
		return err
	}
	runs := make([][]*recording.Machine, len(servers))
	for range rounds {
		for i, s := range servers {
			m, err := s.run(connprof, folder, conns)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			runs[i] = append(runs[i], m)
		}
	}
	heading(to)
	for i, s := range servers {
		s.row(to, runs[i])
	}
	return nil
}

// prepare writes the servers' configurations, and builds those that are the project's own.
func prepare(folder string, conns int) ([]server, error) {
	if err := os.Chmod(folder, 0o755); err != nil { // for those that give up root's rights
		return nil, err
	}
	two := min(conns, (mostFiles()-reserve)/2-reserve)
	files := map[string]string{
		"nginx.conf": fmt.Sprintf("daemon off; worker_processes auto; worker_rlimit_nofile %d; error_log stderr; pid %s/nginx.pid;\n"+
			"events { worker_connections %d; }\nhttp { access_log off; keepalive_timeout 1h; client_header_timeout 1h;\n"+
			"server { listen 8080 backlog=4096; location / { return 200 \"hello\\n\"; } } }\n", conns+1000, folder, conns+1000),
		// It wants two files for each connection that it may have.
		"haproxy.cfg": fmt.Sprintf("global\n maxconn %d\ndefaults\n mode http\n timeout client 1h\n timeout http-keep-alive 1h\n"+
			" timeout http-request 1h\n timeout connect 1h\n timeout server 1h\nfrontend f\n bind 0.0.0.0:8080 backlog 4096\n"+
			" http-request return status 200 content-type text/plain string \"hello\\n\"\n", two+reserve),
		"server.js": "require('http').createServer({keepAliveTimeout: 3600e3}, (q, a) => a.end('hello\\n')).listen(8080, '0.0.0.0', 4096)\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"nethttp", "epollhttp"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(folder, name), "./tools/ownservers/"+name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build %s: %w: %s", name, err, out)
		}
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	servers := []server{
		{name: "nginx", command: []string{"nginx", "-c", in("nginx.conf")}, send: request, expect: page},
		{name: "haproxy", command: []string{"haproxy", "-db", "-f", in("haproxy.cfg")}, send: request, expect: page, most: two},
		{name: "redis", command: []string{"redis-server", "--port", "8080", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "",
			"--appendonly", "no", "--tcp-backlog", "4096", "--dir", folder, "--maxclients", strconv.Itoa(conns)}, send: `PING\r\n`, expect: `^\+PONG\r\n$`},
		{name: "Go, net/http", command: []string{in("nethttp"), "0.0.0.0:8080"}, send: request, expect: page},
		{name: "Go, an epoll loop", command: []string{in("epollhttp"), "0.0.0.0:8080"}, send: request, expect: page},
		{name: "node, http", command: []string{"node", in("server.js")}, send: request, expect: page},
	}
	postgres, err := preparePostgres(folder)
	return append(servers, postgres), err
}

// reserve is what a server has open beside its connections.
const reserve = 500

// mostFiles is how many files a process can have open that this one starts.
func mostFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return reserve
	}
	if most, err := load.MostFiles(); err == nil && unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit.Cur, Max: most}) == nil {
		return int(most)
	}
	return int(limit.Max)
}

// preparePostgres makes a cluster that trusts everybody in the run's network. It has a process for each connection.
func preparePostgres(folder string) (server, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return server{}, fmt.Errorf("there is no PostgreSQL: run make server-tools")
	}
	bin, data := filepath.Dir(found[len(found)-1]), filepath.Join(folder, "postgres")
	if out, err := exec.Command("install", "-d", "-o", "postgres", data).CombinedOutput(); err != nil {
		return server{}, fmt.Errorf("make its folder: %w: %s", err, out)
	}
	initialise := exec.Command("runuser", "-u", "postgres", "--", bin+"/initdb", "--auth=trust", "--no-sync", "-D", data)
	if out, err := initialise.CombinedOutput(); err != nil {
		return server{}, fmt.Errorf("initdb: %w: %s", err, out)
	}
	access, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return server{}, err
	}
	defer access.Close()
	if _, err := access.WriteString("host all all 0.0.0.0/0 trust\n"); err != nil {
		return server{}, err
	}
	command := []string{"runuser", "-u", "postgres", "--", bin + "/postgres", "-D", data, "-p", "8080", "-c", "listen_addresses=*",
		"-c", fmt.Sprintf("max_connections=%d", postgresMost+10), "-c", "unix_socket_directories=" + data, "-c", "fsync=off"}
	// StartupMessage and ReadyForQuery, of the protocol's version 3.
	return server{name: "PostgreSQL", command: command, send: `\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00`,
		expect: `Z\x00\x00\x00\x05I$`, most: postgresMost}, nil
}

// run makes connections to it, and gives what was recorded.
func (s server) run(connprof, folder string, conns int) (*recording.Machine, error) {
	if s.most > 0 {
		conns = min(conns, s.most)
	}
	file := filepath.Join(folder, "rec.json")
	args := append([]string{"run", "--ips", "20", "--conns", strconv.Itoa(conns), "-o", file, "--server-port", "8080", "--send", s.send, "--expect", s.expect,
		"--"}, s.command...)
	out, err := exec.Command(connprof, args...).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return nil, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	r, err := recording.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return r.Machines[0], nil
}

func heading(to io.Writer) {
	fmt.Fprintln(to, "| server | connections | client's end | server's end | user space | page tables | kernel stacks | processes, threads | CPU |")
	fmt.Fprintln(to, "| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
}

// row is one server: bytes a connection, and CPU time.
func (s server) row(to io.Writer, runs []*recording.Machine) {
	each := func(of func(m *recording.Machine) float64) float64 {
		var values []float64
		for _, m := range runs {
			values = append(values, of(m)/float64(max(m.Load.Established, 1)))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	pages := func(role kernel.Role) func(*recording.Machine) float64 {
		return func(m *recording.Machine) (sum float64) {
			for _, row := range m.Endpoints {
				if row.Role == role {
					sum += float64(row.PageBytes)
				}
			}
			return sum
		}
	}
	last := runs[len(runs)-1].Load
	fmt.Fprintf(to, "| %s | %d | %.0f B | %.0f B | %.0f B | %.0f B | %.0f B | %d, %d | %.0f µs |\n", s.name, last.Established, each(pages(kernel.RoleClient)),
		each(pages(kernel.RoleServer)), each(func(m *recording.Machine) float64 { return float64(m.Load.Server.Growth.PSSBytes) }),
		each(func(m *recording.Machine) float64 { return float64(m.Load.Server.Growth.PageTableBytes) }),
		each(func(m *recording.Machine) float64 { return float64(m.Load.Server.Growth.KernelStackBytes) }),
		last.Server.Memory.Processes, last.Server.Memory.Threads,
		each(func(m *recording.Machine) float64 { return m.Load.Server.CPUSeconds * 1e6 }))
}
