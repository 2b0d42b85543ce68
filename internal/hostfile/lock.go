package hostfile

import (
	"errors"
	"fmt"
	"os"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// lockDirectory locks a directory once ensure has seen to it that it is there. It is not a file in it that is locked: a
// journal is replaced with every change, and a lock file would be left behind by a process that is killed.
func lockDirectory(name string, ensure func() error) (*flock.Flock, error) {
	for {
		if err := ensure(); err != nil {
			return nil, err
		}
		lock := flock.New(name, flock.SetFlag(os.O_RDONLY|unix.O_DIRECTORY))
		locked, err := lock.TryLock()
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("there is no directory %s; make it first", name)
		case err != nil:
			return nil, fmt.Errorf("lock directory %s: %w", name, plain(err))
		case !locked:
			return nil, &lockedError{name}
		}
		// Whoever had the lock before may have removed the directory.
		held, errHeld := lock.Stat()
		now, errNow := os.Stat(name)
		if errHeld == nil && errNow == nil && os.SameFile(held, now) {
			return lock, nil
		}
		_ = lock.Close()
	}
}

// lockedError says that another process has a directory's journals.
type lockedError struct{ Directory string }

func (e *lockedError) Error() string {
	return fmt.Sprintf("another connprof is at work (directory %s is locked); wait until it has ended", e.Directory)
}
