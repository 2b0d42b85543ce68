package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// topTick is what the tests read of a line of connprof top --json.
type topTick struct {
	Schema  string         `json:"schema"`
	Sockets int            `json:"sockets"`
	Losses  uint64         `json:"losses"`
	RSS     uint64         `json:"rss_bytes"`
	States  map[string]int `json:"states"`
	Seconds float64        `json:"seconds"`
	Opens   float64        `json:"opens_per_second"`
	Queued  int            `json:"accept_queued"`
	Owners  []struct {
		Names   []string
		Opens   float64 `json:"opens_per_second"`
		Sockets int     `json:"sockets"`
		Change  int     `json:"change"`
		Unread  uint64  `json:"unread_bytes"`
	} `json:"owners"`
}

func TestTopLooksOnceAtAKnownSetOfSockets(t *testing.T) {
	z := newZoo(t)
	netns := fmt.Sprint(z.network.Inode())
	var tick topTick
	r := connprof(t, "top", "--once", "--json", "--netns", netns).exits(t, exitDone)
	if err := json.Unmarshal([]byte(r.stdout), &tick); err != nil || tick.Schema != "connprof.top/1" {
		t.Fatalf("%v in %v", err, r)
	}
	states, sockets := map[string]int{}, 0
	for k, n := range z.kinds() {
		states[k.state] += n
		sockets += n
	}
	var unread uint64
	owned := 0
	for _, o := range tick.Owners {
		unread, owned = unread+o.Unread, owned+o.Sockets
	}
	if fmt.Sprint(tick.States) != fmt.Sprint(states) || tick.Sockets != sockets || owned != sockets || unread != zooUnread*unreadEach {
		t.Errorf("want %d sockets, %v, %d bytes unread: %v", sockets, states, zooUnread*unreadEach, r)
	}
	if tick.Queued != zooUnaccepted {
		t.Errorf("%d wait to be accepted, want %d", tick.Queued, zooUnaccepted)
	}
	if tick.Losses != 0 || tick.RSS < 1<<20 {
		t.Errorf("%d lost, and connprof has %d bytes of memory", tick.Losses, tick.RSS)
	}
	table := connprof(t, "top", "-c", "2", "-i", "1ms", "--by", "state", "--netns", netns).exits(t, exitDone)
	if n := strings.Count(table.stdout, fmt.Sprintf(" %d sockets ", sockets)); n != 2 {
		t.Errorf("%d tables of %d sockets, want 2: %v", n, sockets, table)
	}
}

func TestTopTellsWhatOpensAndEndsWithItsReader(t *testing.T) {
	z := newZoo(t)
	cmd := command(t, "top", "--json", "-i", "50ms", "--netns", fmt.Sprint(z.network.Inode()))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	holds(t, err, cmd.Start())
	hung := time.AfterFunc(childLimit, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	lines := json.NewDecoder(out)
	var first, last topTick
	holds(t, lines.Decode(&first))
	const pairs = 30
	for range pairs {
		holds(t, z.network.Do(z.unaccepted))
	}
	opened, own := 0.0, 0.0
	for last.Sockets < first.Sockets+2*pairs {
		holds(t, lines.Decode(&last))
		opened += last.Seconds * last.Opens
		for _, o := range last.Owners {
			own += last.Seconds * o.Opens
		}
	}
	change := 0
	for _, o := range last.Owners {
		change += o.Change
	}
	if opened < 2*pairs-0.01 || change != 2*pairs {
		t.Errorf("%d ends were opened; top says %.1f, and a change of %d", 2*pairs, opened, change)
	}
	// Both ends are this process's, accepted or not, whether accept() can be hooked or not.
	if own < 2*pairs-0.01 || own > 2*pairs+0.01 {
		t.Errorf("the owners' opens are %.2f, want %d", own, 2*pairs)
	}
	holds(t, out.Close())
	if err := cmd.Wait(); err != nil || complaints.Len() > 0 {
		t.Errorf("its reader is gone: %v: %s", err, complaints.String())
	}
}

func TestTopRefusesWhatMakesNoSense(t *testing.T) {
	connprof(t, "top", "-i", "0s").refuses(t, exitUsage, "--interval")
	connprof(t, "top", "-c", "-1").refuses(t, exitUsage, "--count")
	connprof(t, "top", "--once", "-c", "2").refuses(t, exitUsage, "--once")
	connprof(t, "top", "--by", "opener").refuses(t, exitUsage, "connprof record")
}
