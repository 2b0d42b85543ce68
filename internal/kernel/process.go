package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ResidentBytes is the resident memory of a process (VmRSS), 0 when it is gone.
func ResidentBytes(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}
