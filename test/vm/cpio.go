package vm

import (
	"fmt"
	"io"
	"math"
	"path"
	"strings"
)

// The types of a cpio entry, as in a mode's upper bits.
const (
	modeDir  = 0o040000
	modeChar = 0o020000
	modeFile = 0o100000
)

// cpioEntry is one file, directory or character device. Owner and group are always root, the time is always 0, so
// that the same content makes the same archive.
type cpioEntry struct {
	name         string // relative, without a leading slash
	mode         uint32 // type and permissions
	major, minor uint32 // of a character device
	size         int64
}

// cpioWriter writes the "newc" format that the kernel unpacks its initramfs from (Documentation/driver-api/early-
// userspace/buffer-format.rst). It makes the directories an entry needs.
type cpioWriter struct {
	w     io.Writer
	inode uint32
	at    int64 // bytes written so far
	dirs  map[string]bool
}

func newCpioWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: w, dirs: map[string]bool{".": true}}
}

// dir adds a directory and those above it, each once.
func (c *cpioWriter) dir(name string) error {
	name = cleanName(name)
	if c.dirs[name] {
		return nil
	}
	if err := c.dir(path.Dir(name)); err != nil {
		return err
	}
	c.dirs[name] = true
	return c.header(cpioEntry{name: name, mode: modeDir | 0o755})
}

// device adds a character device.
func (c *cpioWriter) device(name string, perm, major, minor uint32) error {
	return c.entry(cpioEntry{name: cleanName(name), mode: modeChar | perm, major: major, minor: minor}, nil)
}

// file adds a regular file of the size that content must have.
func (c *cpioWriter) file(name string, perm uint32, size int64, content io.Reader) error {
	return c.entry(cpioEntry{name: cleanName(name), mode: modeFile | perm, size: size}, content)
}

// close adds the trailer. Without it the kernel takes what follows for more of the archive.
func (c *cpioWriter) close() error {
	c.inode = 0
	return c.header(cpioEntry{name: "TRAILER!!!"})
}

func (c *cpioWriter) entry(e cpioEntry, content io.Reader) error {
	if e.size > math.MaxUint32 {
		return fmt.Errorf("put %s into the initramfs: %d bytes are more than the cpio format can say", e.name, e.size)
	}
	if err := c.dir(path.Dir(e.name)); err != nil {
		return err
	}
	if err := c.header(e); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	n, err := io.Copy(c.w, io.LimitReader(content, e.size))
	c.at += n
	if err != nil {
		return err
	}
	if n != e.size {
		return fmt.Errorf("put %s into the initramfs: read %d bytes of %d: the file shrank", e.name, n, e.size)
	}
	return c.pad()
}

func (c *cpioWriter) header(e cpioEntry) error {
	c.inode++
	links := 1
	if e.mode&modeDir != 0 {
		links = 2
	}
	n, err := fmt.Fprintf(c.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, e.mode, 0, 0, links, 0, e.size, 0, 0, e.major, e.minor, len(e.name)+1, 0, e.name)
	c.at += int64(n)
	if err != nil {
		return err
	}
	return c.pad()
}

// pad fills up to a multiple of four, on which every header and every content starts.
func (c *cpioWriter) pad() error {
	n, err := c.w.Write(make([]byte, -c.at&3))
	c.at += int64(n)
	return err
}

func cleanName(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}
