package loader

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// chunkBytes is what one read of an iterator returns at most (bpf_seq_read: eight pages), in whole records.
func chunkBytes(record int) int { return 8 * os.Getpagesize() / record * record }

// readRecords reads records of a size in one goroutine, where the kernel's part of the work happens, and visits in another. A
// record is only valid during the call. The kernel's part gives way to others, unless it is to be done at once.
func readRecords(r io.Reader, size int, atOnce bool, visit func(record []byte) error) error {
	const ahead = 8
	free, full := make(chan []byte, ahead), make(chan []byte, ahead)
	for range ahead {
		free <- make([]byte, chunkBytes(size))
	}
	failed := make(chan error, 1)
	go func() {
		defer close(full)
		if !atOnce {
			yieldToOthers()
		}
		for chunk := range free {
			n, err := readWhole(r, chunk, size)
			if err != nil {
				failed <- err
				return
			}
			if n == 0 {
				return
			}
			full <- chunk[:n]
		}
	}()
	err := visitChunks(full, free, size, visit)
	close(free)
	for range full { // lets the reader see that free is closed
	}
	select {
	case readErr := <-failed:
		return errors.Join(err, readErr)
	default:
		return err
	}
}

// walkNice makes the walk give way: nine tenths of a CPU that others want go to them (sched_prio_to_weight, kernel/sched).
// Alone it is as fast as without.
const walkNice = 10

// yieldToOthers lowers the calling goroutine's thread in priority, for good: the thread ends with the goroutine.
func yieldToOthers() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, walkNice) // lowering needs no privilege
}

// readWhole fills part of the chunk with whole records; 0 bytes mean the end. EAGAIN only means that a program has passed
// over a million elements and written nothing (bpf_seq_read, MAX_ITER_OBJECTS): there may be more to come.
func readWhole(r io.Reader, chunk []byte, size int) (int, error) {
	n := 0
	for {
		m, err := r.Read(chunk[n:])
		n += m
		switch {
		case errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, io.EOF) && n%size == 0:
			return n, nil
		case errors.Is(err, io.EOF):
			return n, fmt.Errorf("read BPF records: %w: %d bytes over", io.ErrUnexpectedEOF, n%size)
		case err != nil:
			return n, fmt.Errorf("read BPF records: %w", err)
		case n > 0 && n%size == 0:
			return n, nil
		}
	}
}

func visitChunks(full <-chan []byte, free chan<- []byte, size int, visit func([]byte) error) error {
	for chunk := range full {
		for at := 0; at < len(chunk); at += size {
			if err := visit(chunk[at : at+size]); err != nil {
				return err
			}
		}
		free <- chunk[:chunkBytes(size)]
	}
	return nil
}
