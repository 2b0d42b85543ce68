package kernel

import "github.com/prometheus/procfs"

// SYNsSentAgain is how many SYNs this process's network namespace has sent more than once so far (TCPSynRetrans in /proc/net/netstat);
// -1 where the kernel does not say.
func SYNsSentAgain() int64 {
	self, err := procfs.Self()
	if err != nil {
		return -1
	}
	stats, err := self.Netstat()
	if err != nil || stats.TCPSynRetrans == nil {
		return -1
	}
	return int64(*stats.TCPSynRetrans)
}
