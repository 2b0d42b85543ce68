package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// payloadFile makes a file of so many bytes, all written, whose pages every connection that is sent it has in its queue. It has no
// name and ends with the process. It is -1 for a scenario that sends none.
func (s Scenario) payloadFile(bytes int) (int, error) {
	if !s.does(sendFile) {
		return -1, nil
	}
	fd, err := unix.MemfdCreate("connprof-payload", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a file to send: %w", err)
	}
	for written := 0; written < bytes; {
		n, err := unix.Write(fd, poured[:min(len(poured), bytes-written)])
		if err != nil && err != unix.EINTR {
			return -1, fmt.Errorf("write a file to send: %w", err)
		}
		written += max(n, 0)
	}
	return fd, nil
}
