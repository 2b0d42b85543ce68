package report

import (
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Rule is one thing that stands out in a look at a host. docs/reference/findings.md lists the rules; a test holds it against them.
type Rule struct {
	Name  string
	Looks string // what it looks at
	// From is where it begins to stand out. A busy host has some of everything, for a moment: a rule is to speak only of what does
	// not go away by itself.
	From Threshold
	// Sentence and Advice have the figures of a finding in braces.
	Sentence, Advice string
	find             func(*recording.Machine, Threshold) []figures
}

// Threshold is all that has to be reached; what is 0 does not count.
type Threshold struct {
	Share   float64 // of a limit
	Sockets int
	Bytes   uint64
	Idle    float64 // seconds for which half of a group's sockets have carried nothing
}

func (t Threshold) String() string {
	var parts []string
	if t.Share > 0 {
		parts = append(parts, format.Percent(t.Share, 1))
	}
	if t.Sockets > 0 {
		parts = append(parts, format.Plural(t.Sockets, "socket", "sockets"))
	}
	if t.Bytes > 0 {
		parts = append(parts, format.Size(float64(t.Bytes)))
	}
	if t.Idle > 0 {
		parts = append(parts, "half of a group idle for "+format.Span(t.Idle))
	}
	return strings.Join(parts, ", ")
}

// Rules are all there are, in the order in which a report has them.
var Rules = []Rule{
	{"close_wait", "the sockets of one owner in CLOSE_WAIT, those that never carried data among them",
		Threshold{Sockets: 10, Idle: 60},
		"{owner} has {count} in CLOSE_WAIT, the longest idle for {idle}: {bytes}",
		"The peers have closed and {name} has not. Look for a path in it that returns without close(), or for a pool that keeps what has ended.",
		closeWaits},
	{"accept_queue", "the accept queue of each listener against its backlog",
		Threshold{Share: 0.8, Sockets: 2},
		"{count} wait to be accepted at {where} of {owner}: {share} of a backlog of {limit}",
		"{name} accepts too slowly or not at all. Let it accept more at a time or in more processes. A larger backlog needs listen() and net.core.somaxconn.",
		acceptQueues},
	{"unread", "data that has arrived and that one owner has not read",
		Threshold{Bytes: 1 << 20},
		"{owner} has not read {bytes} that have arrived at {count}",
		"{name} is busy, blocked or has forgotten the sockets. Until it reads, the peers' windows close and they wait.",
		unreads},
	{"send_queue", "data that one owner has sent and no peer has acknowledged, in groups most of whose sockets have some",
		Threshold{Bytes: 1 << 20, Idle: 10},
		"{owner} has {bytes} to send at {count}, and the peers do not take it",
		"The peers do not read, or are gone. Set a write timeout in {name}, or TCP_USER_TIMEOUT.",
		unackeds},
	{"orphans", "orphans of the whole host against net.ipv4.tcp_max_orphans",
		Threshold{Share: 0.5},
		"{count} are orphans: {share} of the {limit} that net.ipv4.tcp_max_orphans allows",
		"Their processes have closed them with data left to send. Beyond the limit the kernel resets them. A shorter net.ipv4.tcp_orphan_retries lets them go sooner.",
		orphans},
	{"time_wait", "TIME_WAIT of one network namespace against net.ipv4.tcp_max_tw_buckets",
		Threshold{Share: 0.5},
		"{count} are in TIME_WAIT: {share} of the {limit} that net.ipv4.tcp_max_tw_buckets allows",
		"The end that closes first has them, for 60 s each. Keep connections open for more than one request. Beyond the limit the kernel skips TIME_WAIT.",
		timeWaits},
	{"tcp_mem", "the protocol's pages against the pressure limit of net.ipv4.tcp_mem",
		Threshold{Share: 0.75},
		"TCP has {count} for queues: {share} of the {limit} at which net.ipv4.tcp_mem puts it under pressure",
		"Under pressure the kernel shrinks windows and drops what arrives out of order. Look above for who has the buffers, before raising net.ipv4.tcp_mem.",
		tcpMem},
	{"conntrack", "connection tracking's entries in connprof's network namespace against net.netfilter.nf_conntrack_max",
		Threshold{Share: 0.75},
		"connection tracking has {count}: {share} of the {limit} that net.netfilter.nf_conntrack_max allows",
		"Beyond the limit the kernel drops new connections' packets. Raise it, shorten nf_conntrack_tcp_timeout_established, or track less (notrack).",
		trackedEntries},
	{"unconnected", "the sockets of one owner in CLOSE",
		Threshold{Sockets: 20},
		"{owner} has {count} in CLOSE: {bytes}",
		"They were never connected, or a reset has ended them. {name} has to close() them: the kernel does not.",
		unconnecteds},
	{"unreachable", "sockets that no table and no process has, by the books",
		Threshold{Sockets: 10},
		"{count} are in nobody's reach: the kernel counts them, and no table and no process has them",
		"They lie unconnected in messages between processes (SCM_RIGHTS) or in io_uring. Where others open and close all the time, the rest is what changed meanwhile: look again.",
		unreachables},
	{"no_traffic", "the connections of one owner in ESTABLISHED",
		Threshold{Sockets: 100, Idle: 3600},
		"{owner} has {count} in ESTABLISHED that carry nothing, the longest for {idle}: {bytes}",
		"Set an idle timeout in {name}, or keepalive where the peers may be gone.",
		withoutAnyTraffic},
}
