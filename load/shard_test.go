package load

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestShardsKeepOffTheMainThread(t *testing.T) {
	const shards = 50
	threads := make(chan int, shards)
	err := startShards(shards, func(ready chan<- error, _ int) {
		threads <- unix.Gettid()
		ready <- nil
		select {}
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for range shards {
		seen[<-threads] = true
	}
	if len(seen) != shards || seen[unix.Getpid()] {
		t.Errorf("%d shards on %d threads, main thread among them: %v", shards, len(seen), seen[unix.Getpid()])
	}
}

func TestTurnsComeInOrder(t *testing.T) {
	turns := newTurns(3)
	for i := range 5 { // more turns than shards are given away at the end
		turns.pass()
		if i < 3 {
			turns.wait(i)
		}
		if i < 2 {
			select {
			case <-turns.begin[i+1]:
				t.Fatalf("shard %d has its turn with shard %d", i+1, i)
			default:
			}
		}
	}
}
