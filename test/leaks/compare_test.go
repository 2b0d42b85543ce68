package leaks

import (
	"io"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

const compareStacks = "--compare-stacks"

// comparing checks that stacks were recognised, and each as what it is.
func comparing(t *testing.T, m *recording.Machine, least int) {
	t.Helper()
	if s := m.Record.Stacks; s.Mistaken != 0 || s.Compared < least {
		t.Errorf("of %d recognised stacks that were unwound as well %d were another path, want at least %d and none", s.Compared, s.Mistaken,
			least)
	}
	t.Logf("%d recognised stacks were compared", m.Record.Stacks.Compared)
}

// What is recognised by its return addresses is the path that the whole stack is, whatever made the code.
func TestRecognisedStacksAreTheirs(t *testing.T) {
	kinds := 0
	for _, p := range append(append([]leaky{}, programs...), statics...) {
		if !slices.Contains([]string{"C without frame pointers", "C with threads", "C++", "python with a module in C", "node, connect() at once",
			"Go, stripped"}, p.name) {
			continue // made like one of these
		}
		kinds++
		t.Run(p.name, func(t *testing.T) {
			s := newServer(t, here).serve(silent)
			r := newRecord(t, append([]string{compareStacks, "--duration", forever, "--"}, p.arguments(t, s)...)...)
			r.tell(t)
			r.says(t, "done")
			forget(t, descendants(r.pid()))
			comparing(t, r.ends(t), opens)
		})
	}
	if kinds != 6 {
		t.Errorf("%d kinds of programs", kinds)
	}
}

func TestRecognisedStacksOfProxiesAreTheirs(t *testing.T) {
	const asked = 100
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			c, address := p.start(t, newServer(t, here).serve(answer))
			r := recordOf(t, append([]string{compareStacks}, pidFlag(c.pid())...)...)
			for range asked {
				if _, err := io.ReadAll(ask(t, address, "/")); err != nil {
					t.Fatal(err)
				}
			}
			comparing(t, r.ends(t), asked/2)
		})
	}
}

// redis-benchmark connects anew for each request, by hiredis and an event loop of its own. What it asks for takes the server a
// while: at full speed it opens more than a busy reader can compare.
func TestRecognisedStacksOfRedisAreTheirs(t *testing.T) {
	const requests = 2000
	port := freePort(t)
	server := start(t, exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", t.TempDir()), (*exec.Cmd).Start)
	server.until(t, "it listens", func() bool { return exec.Command("redis-cli", "-p", port, "ping").Run() == nil })
	r := newRecord(t, compareStacks, "--", "redis-benchmark", "-p", port, "-k", "0", "-n", strconv.Itoa(requests), "-c", "10", "-q",
		"eval", "local n = 0 for i = 1, 200000 do n = n + i end return n", "0")
	r.exits(t, exitDone)
	m := r.read(t)
	comparing(t, m, requests/2)
	if got := sum(clients(m)); got.opened < requests || got.failed != 0 {
		t.Errorf("%+v of %d requests", got, requests)
	}
}
