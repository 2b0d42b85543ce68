package leaks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// proxy is a real one of Debian's, between the test's clients and a server of the test's.
type proxy struct {
	name string
	// config is its configuration, with the port it listens on, that of the server behind, and a folder of its own.
	config  string
	command func(config, folder string) []string
	// function is what it connects to a server with, and reaches are others on the way, root first.
	function string
	reaches  []string
}

const nginxConfig = `daemon off;
master_process off;
pid FOLDER/pid;
error_log FOLDER/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  proxy_read_timeout 1h;
  server { listen 127.0.0.1:PORT; location / { proxy_pass http://127.0.0.1:BEHIND; } }
}
`

const haproxyConfig = `global
  nbthread 2
defaults
  mode http
  timeout client 1h
  timeout server 1h
  timeout connect 1m
  option httpclose
frontend in
  bind 127.0.0.1:PORT
  default_backend out
backend out
  server one 127.0.0.1:BEHIND
`

var proxies = []proxy{
	{name: "nginx", config: nginxConfig, function: "ngx_event_connect_peer",
		reaches: []string{"_start", "main", "ngx_single_process_cycle", "ngx_http_", "ngx_event_connect_peer", "connect"},
		command: func(config, folder string) []string {
			return []string{"/usr/sbin/nginx", "-p", folder, "-c", config, "-e", folder + "/error.log"}
		}},
	{name: "haproxy", config: haproxyConfig, function: "tcp_connect_server",
		reaches: []string{"process_stream", "tcp_connect_server", "connect"},
		command: func(config, _ string) []string { return []string{"/usr/sbin/haproxy", "-db", "-f", config} }},
}

// start starts one before a server, and gives the address that it listens at.
func (p proxy) start(t *testing.T, behind *server) (*child, string) {
	t.Helper()
	dir := t.TempDir()
	port := freePort(t)
	config := filepath.Join(dir, "config")
	text := strings.NewReplacer("FOLDER", dir, "PORT", port, "BEHIND", behind.port()).Replace(p.config)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := p.command(config, dir)
	c := start(t, exec.Command(args[0], args[1:]...), (*exec.Cmd).Start)
	address := "127.0.0.1:" + port
	c.until(t, "it listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return c, address
}

// freePort is one that nobody listened at a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	s := newServer(t, here)
	defer s.Close()
	return s.port()
}

// answer answers one request, unless that asks to be held.
func answer(c net.Conn) {
	held := false
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		held = held || strings.HasPrefix(line, "GET /held ")
		if line == "\r\n" {
			break
		}
	}
	if !held {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// ask sends a request through a proxy.
func ask(t *testing.T, address, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	return c
}

// A proxy's connection to a server that does not answer stays open. Which code of the proxy's opened it is told.
func TestAProxysConnectionsAreOpenedByItsCode(t *testing.T) {
	const requests, held = 100, 10
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			behind := newServer(t, here).serve(answer)
			c, address := p.start(t, behind)
			r := recordOf(t, pidFlag(c.pid())...)
			for i := range requests {
				if i%(requests/held) == 0 {
					ask(t, address, "/held")
				} else if text, err := io.ReadAll(ask(t, address, "/")); err != nil || !strings.HasSuffix(string(text), "ok") {
					t.Fatalf("request %d: %q, %v: %v", i, text, err, c)
				}
			}
			behind.saw(t, requests, requests-held)
			m := r.ends(t)
			want := counts{opened: requests, closed: requests - held, live: held}
			p.holds(t, m, c.pid(), want)
			if got := sum(servers(m)); got.live != held {
				t.Errorf("the proxy's own clients: %+v, want %d that are live", got, held)
			}
		})
	}
}

// holds checks the proxy's connections to the server behind.
func (p proxy) holds(t *testing.T, m *recording.Machine, pid int, want counts) {
	t.Helper()
	if got := sum(clients(m)); got != want {
		t.Errorf("the connections to the server are %+v, want %+v", got, want)
	}
	list := through(m, p.function, pid)
	if got := sum(list); got != want {
		t.Fatalf("%s has %+v, want %+v", p.function, got, want)
	}
	if at := inOrder(list[0].Frames, p.reaches); at != "" {
		t.Errorf("%s is not on the way, or not where it should be: %q", at, list[0].Frames)
	}
	for _, o := range list {
		if o.Stack != recording.StackWhole {
			t.Errorf("%d stacks are %s: %s", o.Opened, o.Stack, o.Why)
		}
	}
}
