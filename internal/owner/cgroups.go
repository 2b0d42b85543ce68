package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// CgroupPaths finds the paths of cgroups by their IDs, which is all that a socket has that no process has open. IDs are of
// version 2, also where version 1 is in use beside it. On a host with version 1 alone nothing is found.
//
// The hierarchy is walked when the first ID is looked up. A cgroup that came later is found after Renew.
type CgroupPaths struct {
	// Proc is where the proc file system is mounted; empty for /proc.
	Proc string

	paths  map[uint64]string
	walked bool // since Renew
	err    error
}

// Path is that of a cgroup below the root of its hierarchy, as /proc/PID/cgroup has it. Empty: it is not known.
func (c *CgroupPaths) Path(id uint64) string {
	if id == 0 {
		return ""
	}
	found, ok := c.paths[id]
	if !ok && !c.walked {
		c.walked = true
		c.paths, c.err = c.walk()
		found = c.paths[id]
	}
	return found
}

// Renew allows to walk the hierarchy once more, when an ID is looked up that is not known.
func (c *CgroupPaths) Renew() { c.walked = false }

// Err is why no path is known, nil where the hierarchy was walked, or did not have to be.
func (c *CgroupPaths) Err() error { return c.err }

// mostCgroups bounds a walk: 30 MB. A host that runs 100 pods has some 1,000.
const mostCgroups = 1 << 18

func (c *CgroupPaths) walk() (map[uint64]string, error) {
	mount, err := c.mount()
	if err != nil {
		return nil, err
	}
	found := map[uint64]string{}
	err = filepath.WalkDir(mount.at, func(at string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && at != mount.at:
			return fs.SkipDir // it was removed meanwhile, or its path is longer than the kernel takes
		case err != nil:
			return err
		case !entry.IsDir():
			return nil
		case len(found) == mostCgroups:
			return fs.SkipAll
		}
		var stat unix.Stat_t
		if err := unix.Lstat(at, &stat); err != nil {
			return fs.SkipDir
		}
		found[stat.Ino] = path.Join("/", mount.root, strings.TrimPrefix(at, mount.at))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("walk the cgroups below %s: %w", mount.at, err)
	}
	return found, nil
}

// cgroupMount is where a hierarchy, or what is below one cgroup of it, is mounted.
type cgroupMount struct{ at, root string }

// mount is that mount of version 2 which shows most of the hierarchy.
func (c *CgroupPaths) mount() (cgroupMount, error) {
	proc := c.Proc
	if proc == "" {
		proc = procfs.DefaultMountPoint
	}
	proc, err := filepath.Abs(proc)
	if err != nil {
		return cgroupMount{}, err
	}
	procFS, err := procfs.NewFS(proc)
	if err != nil {
		return cgroupMount{}, err
	}
	mounts, err := procFS.GetMounts()
	if err != nil {
		return cgroupMount{}, fmt.Errorf("read %s/self/mountinfo: %w", proc, err)
	}
	best := cgroupMount{}
	for _, m := range mounts {
		at, root := unescapeOctal(m.MountPoint), unescapeOctal(m.Root)
		if _, err := os.Lstat(at); m.FSType != "cgroup2" || err != nil {
			continue
		}
		if best.at == "" || len(segments(root)) < len(segments(best.root)) {
			best = cgroupMount{at, root}
		}
	}
	if best.at == "" {
		return best, errors.New("read the paths of cgroups: no hierarchy of version 2 is mounted; mount one with mount -t cgroup2 none DIRECTORY")
	}
	return best, nil
}

// unescapeOctal undoes what the kernel does to the characters of a path that would break a line of mountinfo: \040.
func unescapeOctal(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
