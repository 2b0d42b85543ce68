package symbolise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// Who owns a container can mount a file system there that never answers. So each call that may read from one is given some
// time. What does not come back keeps a thread. After a few of them nothing more is tried until some come back.
const (
	patience  = time.Second
	mostStuck = 16
)

var errSlow = errors.New("its file system does not answer")

// gate lets calls through while not too many are stuck.
type gate struct {
	patience time.Duration
	stuck    atomic.Int32
}

// do calls f, and waits for it within reason. If it returns an error f may still be running.
func (g *gate) do(f func()) error {
	if g.stuck.Load() >= mostStuck {
		return fmt.Errorf("%d calls wait for file systems: %w", mostStuck, errSlow)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	}
	g.stuck.Add(1)
	go func() {
		<-done
		g.stuck.Add(-1)
	}()
	return errSlow
}

// source reads a file through the gate. After one read that was not answered there are no more.
type source struct {
	*os.File
	gate *gate
	slow bool
}

// longestRead is the most that one call asks for, so that a slow disk has the time.
const longestRead = 4 << 20

// ReadAt is io.ReaderAt's.
func (s *source) ReadAt(into []byte, offset int64) (int, error) {
	total := 0
	for total < len(into) {
		n, err := s.readOnce(into[total:min(len(into), total+longestRead)], offset+int64(total))
		total += n
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, io.ErrUnexpectedEOF
		}
	}
	return total, nil
}

func (s *source) readOnce(into []byte, offset int64) (int, error) {
	if s.slow {
		return 0, errSlow
	}
	// A call that comes back late writes to a buffer of its own.
	type result struct {
		data []byte
		err  error
	}
	results := make(chan result, 1)
	size := len(into)
	err := s.gate.do(func() {
		buffer := make([]byte, size)
		n, err := s.File.ReadAt(buffer, offset)
		results <- result{buffer[:n], err}
	})
	if err != nil {
		s.slow = true
		return 0, err
	}
	read := <-results
	return copy(into, read.data), read.err
}

// opened is a file with its identity.
type opened struct {
	*source
	id identity
}

// open opens a file by a function, and identifies it.
func (g *gate) open(how func() (*os.File, identity, error)) (*opened, error) {
	type result struct {
		file *os.File
		id   identity
		err  error
	}
	results := make(chan result, 1)
	if err := g.do(func() {
		file, id, err := how()
		results <- result{file, id, err}
	}); err != nil {
		return nil, err // a file that is opened late is closed by its finalizer
	}
	r := <-results
	if r.err != nil {
		return nil, r.err
	}
	return &opened{&source{File: r.file, gate: g}, r.id}, nil
}
