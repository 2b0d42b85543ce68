package experiment

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/connprof/connprof/netcfg"
)

// listenEnv has the test program listen without accepting, with that network, and wait for the end of its standard input.
const listenEnv = "CONNPROF_TEST_LISTEN"

func listenMain() {
	network := os.Getenv(listenEnv)
	if network == "" {
		return
	}
	l, err := net.Listen(network, ":7777")
	fmt.Println("listens", err)
	_, _ = bufio.NewReader(os.Stdin).ReadString(' ')
	l.Close()
	os.Exit(0)
}

type processes []int

func (p processes) Processes() []int { return p }

// aListener is a process that listens in a network of its own.
func aListener(t *testing.T, network string) (in *netcfg.Private, pid int, end func()) {
	t.Helper()
	in, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 100, IPv6: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), listenEnv+"="+network)
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = in.Start(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		input.Close()
		_ = cmd.Wait()
	}
	t.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "listens <nil>\n" {
		t.Fatalf("it says %q: %v", line, err)
	}
	return in, cmd.Process.Pid, end
}

// An accept queue is looked at and not held: the listener is gone with its process.
func TestAcceptQueuesAreThoseOfTheServer(t *testing.T) {
	in, pid, end := aListener(t, "tcp")
	q, err := findQueues(processes{os.Getpid(), pid}, 7777, in)
	if err != nil || len(q.listeners) != 1 || q.backlog < 128 || q.length() != 0 || q.v6only {
		t.Fatalf("%+v: %v", q, err)
	}
	var open []net.Conn
	dial := func() error {
		return in.Do(func() error {
			c, err := (&net.Dialer{Timeout: time.Minute}).Dial("tcp", net.JoinHostPort(in.Server.String(), "7777"))
			if err == nil {
				open = append(open, c)
			}
			return err
		})
	}
	for range 3 {
		if err := dial(); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	if n := q.length(); n != 3 {
		t.Errorf("%d wait to be accepted, want 3", n)
	}
	end()
	if n := q.length(); n != 0 || len(q.listeners) != 0 {
		t.Errorf("%d wait at %+v, which is gone", n, q.listeners)
	}
	if err := dial(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("somebody listens still: %v", err)
	}
}

func TestAListenerOfIPv6AloneIsKnown(t *testing.T) {
	in, pid, _ := aListener(t, "tcp6")
	q, err := findQueues(processes{pid}, 7777, in)
	if err != nil || !q.v6only {
		t.Errorf("%+v: %v", q, err)
	}
}

func TestWhereAServerIsReached(t *testing.T) {
	at := func(list ...string) (all []netip.AddrPort) {
		for _, text := range list {
			all = append(all, netip.MustParseAddrPort(text))
		}
		return all
	}
	own := netip.MustParseAddr("198.18.0.1")
	for _, c := range []struct {
		at   []netip.AddrPort
		port int
		ipv6 bool
		want string
		says string
	}{
		{at("0.0.0.0:80"), 0, false, "198.18.0.1:80", ""},
		{at("[::]:80"), 80, false, "198.18.0.1:80", ""},
		{at("127.0.0.1:80", "[::1]:80"), 0, false, "127.0.0.1:80", ""},
		{at("127.0.0.1:80", "[::1]:80"), 0, true, "[::1]:80", ""},
		{at("0.0.0.0:80", "0.0.0.0:443"), 443, false, "198.18.0.1:443", ""},
		{at("0.0.0.0:80", "0.0.0.0:443"), 0, false, "", "listens on ports 80, 443: say which by --server-port"},
		{at("0.0.0.0:80"), 81, false, "", "listens on port 80 and not on 81"},
		{at("0.0.0.0:80"), 0, true, "", "listens on 0.0.0.0:80 alone: leave out --ipv6"},
		{at("[::1]:80"), 0, false, "", "listens on [::1]:80 alone: use --ipv6"},
		{nil, 0, false, "", "listens on no port"},
		{nil, 80, false, "", "does not listen on port 80"},
	} {
		got, err := chooseListener(c.at, c.port, own, c.ipv6)
		if c.says == "" && (err != nil || got.String() != c.want) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%v, port %d, IPv6 %v: %v, %v; want %s%s", c.at, c.port, c.ipv6, got, err, c.want, c.says)
		}
	}
}
