package hostfile

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mostLinks is how many links the kernel follows as well.
const mostLinks = 40

// Follow is where a path leads through symbolic links. There need not be a file. It follows the links that the kernel would
// follow where sysctl fs.protected_symlinks is set: a link that somebody else has put into a directory for all is none to
// write through.
func Follow(path string) (string, error) {
	for range mostLinks {
		target, link, err := readLink(path)
		if err != nil || !link {
			return path, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", unix.ELOOP
}

// readLink reads a link and its owner by one descriptor, so that nobody can change the link in between.
func readLink(path string) (target string, link bool, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false, nil // what is not there is no link, and the writer says what else is wrong
	}
	defer unix.Close(fd)
	var st, dir unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, err
	}
	if err := unix.Stat(filepath.Dir(path), &dir); err != nil {
		return "", false, err
	}
	const forAll = unix.S_ISVTX | unix.S_IWOTH
	if dir.Mode&forAll == forAll && st.Uid != dir.Uid && int(st.Uid) != os.Geteuid() {
		return "", false, fmt.Errorf("it is a link of another user in a directory that all can write to: %w", unix.EACCES)
	}
	name := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", name)
	return string(name[:max(n, 0)]), err == nil, err
}
