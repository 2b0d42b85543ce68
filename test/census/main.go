// Command census counts the objects of every slab cache in the test's virtual machines while connprof holds its
// connections open.
//
//	census FOLDER PROGRAM ARGUMENT...
//
// It starts `PROGRAM ARGUMENT... --hold ... -o FILE`, waits for the recording, counts several times and ends the program
// with SIGINT. It leaves FOLDER/recording.json and, for each count, FOLDER/slabinfo.N, a copy of /proc/slabinfo. They are
// written when all is over: a file would have a dentry and an inode of its own.
//
// Under SLUB the active objects of /proc/slabinfo include the free ones of every slab that a CPU keeps for itself (the
// kernel's count_partial() sees the nodes' lists only). Writing to a cache's shrink file in sysfs takes those slabs
// back (__kmem_cache_shrink() begins with flush_all()); what is active after that is allocated. A CPU that allocates one
// object before the count is done takes a whole slab again. So several counts are made: such an error only ever adds,
// and the least of them is the best.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/recording"
)

const (
	slabFolder = "/sys/kernel/slab"
	// settle is how long the kernel gets before each count to free what was given up, by RCU and by its workers.
	settle = 500 * time.Millisecond
	// patience is how long the program may take to write its recording.
	patience = 2 * time.Minute
	// counts is how often is counted. On a busy host, where an emulated CPU takes long, three were all too many once.
	counts = 6
	// maxSlabinfo is more than any kernel's /proc/slabinfo, in bytes.
	maxSlabinfo = 256 << 10
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: census FOLDER PROGRAM ARGUMENT...")
		os.Exit(2)
	}
	if err := take(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "census:", err)
		os.Exit(1)
	}
}

// take runs the program and counts while it holds its connections.
func take(folder, name string, arguments []string) error {
	c, err := newCounter()
	if err != nil {
		return err
	}
	path := filepath.Join(folder, "recording.json")
	program := exec.Command(name, append(arguments, "--hold", "1h", "-o", path)...)
	program.Stdout, program.Stderr = os.Stdout, os.Stderr
	if err := program.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	if err := waitFor(path, ended); err != nil {
		return errors.Join(err, program.Process.Kill())
	}
	texts, err := c.countAll()
	if err != nil {
		return errors.Join(err, program.Process.Kill())
	}
	if err := program.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i, text := range texts {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, "slabinfo."+strconv.Itoa(i)), text, 0o644))
	}
	return err
}

// waitFor returns when the recording is whole. The program that wrote it now holds its connections.
func waitFor(path string, ended <-chan error) error {
	for start := time.Now(); time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended before it had written its recording: %v", err)
		default:
		}
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if _, err := recording.ReadFile(path); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no recording after %v", patience)
}

// counter keeps everything open that a census needs: opening a file allocates from the caches to be counted, and a
// single allocation makes a CPU take a whole slab for itself again.
type counter struct {
	slabinfo   int
	dropCaches int
	shrink     []int // file descriptors of the caches' shrink files
	text       []byte
}

// newCounter opens the shrink file of each cache once: the names of merged caches are links to the first one's folder.
func newCounter() (*counter, error) {
	entries, err := os.ReadDir(slabFolder)
	if err != nil {
		return nil, fmt.Errorf("list the slab caches: %w", err)
	}
	c := &counter{text: make([]byte, maxSlabinfo)}
	if c.slabinfo, err = open("/proc/slabinfo", unix.O_RDONLY); err != nil {
		return nil, err
	}
	if c.dropCaches, err = open("/proc/sys/vm/drop_caches", unix.O_WRONLY); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		fd, err := open(filepath.Join(slabFolder, e.Name(), "shrink"), unix.O_WRONLY)
		if err != nil {
			return nil, err
		}
		c.shrink = append(c.shrink, fd)
	}
	return c, nil
}

// open goes past package os, which would enter the file into Go's epoll set: an epitem of our own.
func open(path string, flags int) (int, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

func (c *counter) countAll() ([][]byte, error) {
	var texts [][]byte
	for range counts {
		// What kfree_rcu() has gathered it frees after 5 s (KFREE_DRAIN_JIFFIES), or when memory is asked back.
		if _, err := unix.Pwrite(c.dropCaches, []byte("2"), 0); err != nil {
			return nil, fmt.Errorf("drop the slab caches: %w", err)
		}
		time.Sleep(settle)
		text, err := c.count()
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// count takes every slab back from the CPUs and gives a copy of /proc/slabinfo.
func (c *counter) count() ([]byte, error) {
	for _, fd := range c.shrink {
		if _, err := unix.Pwrite(fd, []byte("1"), 0); err != nil {
			return nil, fmt.Errorf("shrink a slab cache: %w", err)
		}
	}
	size := 0
	for {
		n, err := unix.Pread(c.slabinfo, c.text[size:], int64(size))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read /proc/slabinfo: %w", err)
		case n == 0:
			return append([]byte(nil), c.text[:size]...), nil
		}
		size += n
		if size == len(c.text) {
			return nil, fmt.Errorf("read /proc/slabinfo: more than %d bytes", size)
		}
	}
}
