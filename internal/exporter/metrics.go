package exporter

import (
	"cmp"
	"os"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// MostOwners bounds the series of owners. Those beyond, by the slab that they hold, are one owner, Other.
const MostOwners = 200

// mostListeners bounds the series of listeners: those with the fullest queues.
const mostListeners = 200

// Other is the unit of all owners beyond the bound.
const Other = "other"

// The metrics. A name in bytes is in bytes, one in seconds in seconds.
var (
	ownerLabels = []string{"unit", "container", "pod"}

	connections = desc("connections", "TCP sockets by state, in all network namespaces.", append([]string{"role", "state"}, ownerLabels...)...)
	pageBytes   = desc("connection_page_bytes", "Slab memory that TCP sockets hold, padding and waste of its pages included.",
		append([]string{"role"}, ownerLabels...)...)
	objectBytes = desc("connection_object_bytes", "Slab memory that TCP sockets hold, by the kernel's type, without padding and waste.", "type")
	bufferBytes = desc("connection_buffer_bytes", "Memory of queued data, by the kernel's own accounting.",
		append([]string{"queue"}, ownerLabels...)...)
	unreadBytes = desc("connection_unread_bytes", "Data that has arrived and that the owner has not read.", ownerLabels...)

	tcpMemory      = desc("tcp_memory_bytes", "What TCP has taken for queues, by the protocol's own counter.")
	tcpMemoryLimit = desc("tcp_memory_limit_bytes", "The limits of net.ipv4.tcp_mem.", "level")
	slabBytes      = desc("slab_bytes", "Slab in /proc/meminfo.")
	queueLength    = desc("accept_queue_length", "Connections that nobody has accepted yet.", "netns", "listener", "container")
	queueLimit     = desc("accept_queue_limit", "The backlog: the kernel refuses connections beyond it.", "netns", "listener", "container")
	orphans        = desc("orphans", "Sockets that their process has closed and the protocol has not.")
	orphansLimit   = desc("orphans_limit", "net.ipv4.tcp_max_orphans.")
	tracked        = desc("tracked_entries", "Connection tracking's entries in the exporter's network namespace.")
	trackedLimit   = desc("tracked_entries_limit", "net.netfilter.nf_conntrack_max.")
	unreachable    = desc("sockets_unreachable", "Sockets that the kernel counts and that no table and no process has.")
	unexplained    = desc("unexplained_bytes", "Slab of the host in bytes, by /proc/meminfo, less what the walk finds that sockets "+
		"hold: positive, and most of it is not TCP's.")
	unexplainedTCP = desc("unexplained_tcp_memory_bytes", "TCP's memory for queues in bytes, by the protocol's own counter, less "+
		"the sum of the sockets' accounts by the walk: negative where queues have grown between the two.")
	unexplainedSocks = desc("unexplained_socks", "Active objects of the slab caches TCP and TCPv6 in /proc/slabinfo less the "+
		"sockets of the walk: what CPUs keep in stock is among them; negative where sockets came up between the two.")
	walkSkipped = desc("walk_skipped_endpoints", "Sockets that the last walk met and could not follow.")
	walkSeconds = desc("walk_duration_seconds", "How long the last walk over all sockets took.")
	lookTime    = desc("look_timestamp_seconds", "When the last look at the host ended, in Unix time.")
	mapBytes    = desc("bpf_map_bytes", "Memory of the exporter's BPF maps.")

	opens    = desc("opens_total", "Ends of connections opened by connect() or accepted since the exporter has started.")
	closes   = desc("closes_total", "Ends of connections closed since the exporter has started, those that were open before among them.")
	failures = desc("connect_failures_total", "Connections that did not come up since the exporter has started.", "error")
	lost     = desc("losses_total", "Opens that had no place in a map (map_full), runs of programs that the kernel left out (skipped).", "reason")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("connprof_"+name, help, labels, nil)
}

// Describe is part of prometheus.Collector.
func (s *Sight) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, to) }

// Collect gives the metrics of one look.
func (s *Sight) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- metric(d, prometheus.GaugeValue, v, labels)
	}
	s.collectOwners(gauge)
	s.collectHost(gauge)
	s.collectListeners(gauge)
	if s.Counts == nil {
		return
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- metric(d, prometheus.CounterValue, float64(v), labels)
	}
	to <- s.lifetimes()
	counter(opens, s.Counts.Opened)
	counter(closes, s.Counts.Closed)
	counter(lost, s.Counts.Lost, "map_full")
	counter(lost, s.Counts.Skipped, "skipped")
	for e := kernel.OpenError(1); e < kernel.OpenErrors; e++ {
		counter(failures, s.Counts.Errors[e], e.String())
	}
}

// metric is one series. A label that Prometheus does not take fails the scrape, and not the exporter.
func metric(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels []string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(d, kind, v, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err)
	}
	return m
}

// owner is whose sockets they are: never a process or a peer, whose number has no bound.
type owner struct{ unit, container, pod string }

func ownerOf(g *recording.Group) owner { return owner{g.Unit, g.Container, g.Pod} }

func (o owner) labels(first ...string) []string { return append(first, o.unit, o.container, o.pod) }

// owners are the groups' owners, those beyond the bound as one.
func owners(groups []recording.Group, most int) map[owner]owner {
	held := map[owner]uint64{}
	for i := range groups {
		held[ownerOf(&groups[i])] += groups[i].PageBytes
	}
	list := make([]owner, 0, len(held))
	for o := range held {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b owner) int {
		return cmp.Or(cmp.Compare(held[b], held[a]), cmp.Compare(a.unit, b.unit), cmp.Compare(a.container, b.container),
			cmp.Compare(a.pod, b.pod))
	})
	as := map[owner]owner{}
	for i, o := range list {
		if as[o] = o; i >= most {
			as[o] = owner{unit: Other}
		}
	}
	return as
}

// collectOwners sums the groups by what is shown of them.
func (s *Sight) collectOwners(gauge func(*prometheus.Desc, float64, ...string)) {
	type inState struct {
		owner
		role, state string
	}
	type inRole struct {
		owner
		role string
	}
	type held struct{ rx, tx, unread uint64 }
	counts, pages, queued := map[inState]int{}, map[inRole]uint64{}, map[owner]held{}
	as := owners(s.Machine.Groups, MostOwners)
	for i := range s.Machine.Groups {
		g := &s.Machine.Groups[i]
		o, role := as[ownerOf(g)], g.Role.String()
		counts[inState{o, role, g.State}] += g.Count
		pages[inRole{o, role}] += g.PageBytes
		q := queued[o]
		q.rx, q.tx, q.unread = q.rx+g.RxBytes, q.tx+g.TxBytes, q.unread+g.UnreadBytes
		queued[o] = q
	}
	for k, n := range counts {
		gauge(connections, float64(n), k.labels(k.role, k.state)...)
	}
	for k, n := range pages {
		gauge(pageBytes, float64(n), k.labels(k.role)...)
	}
	for o, q := range queued {
		gauge(bufferBytes, float64(q.rx), o.labels("receive")...)
		gauge(bufferBytes, float64(q.tx), o.labels("send")...)
		gauge(unreadBytes, float64(q.unread), o.labels()...)
	}
	objects := map[string]uint64{}
	for i := range s.Machine.Endpoints {
		for _, o := range s.Machine.Endpoints[i].Objects {
			objects[o.Type] += o.ObjectBytes
		}
	}
	for kind, n := range objects {
		gauge(objectBytes, float64(n), kind)
	}
}

// collectHost has what the kernel says of the whole host.
func (s *Sight) collectHost(gauge func(*prometheus.Desc, float64, ...string)) {
	page := float64(os.Getpagesize())
	if b := s.Machine.Books; b != nil {
		gauge(tcpMemory, float64(b.Pages.Kernel)*page)
		gauge(tcpMemoryLimit, float64(b.Pages.LimitLow)*page, "low")
		gauge(tcpMemoryLimit, float64(b.Pages.LimitPressure)*page, "pressure")
		gauge(tcpMemoryLimit, float64(b.Pages.LimitHigh)*page, "high")
		gauge(slabBytes, float64(b.Slab.TotalBytes))
		gauge(unreachable, float64(b.Sockets.Unreachable))
		gauge(unexplainedTCP, b.Pages.Remainder()*page)
		// A book that could not be read is 0: it explains nothing.
		if b.Slab.TotalBytes > 0 {
			gauge(unexplained, float64(b.Slab.Remainder()))
		}
		if b.TCPSocks.Slabinfo > 0 {
			gauge(unexplainedSocks, float64(b.TCPSocks.Remainder()))
		}
	}
	if l := s.Machine.Look; l != nil {
		gauge(orphans, float64(l.Orphans))
		gauge(orphansLimit, float64(l.OrphansMax))
		if l.TrackedMax > 0 {
			gauge(tracked, float64(l.Tracked))
			gauge(trackedLimit, float64(l.TrackedMax))
		}
	}
	gauge(walkSkipped, float64(s.Machine.Losses.WalkSkipped))
	gauge(walkSeconds, s.Machine.Cost.WalkSeconds)
	gauge(mapBytes, float64(s.Machine.Cost.BPFMapBytes))
	gauge(lookTime, float64(s.At.UnixMilli())/1000)
}

// collectListeners has the accept queues. Listeners that share an address, with SO_REUSEPORT, are one.
func (s *Sight) collectListeners(gauge func(*prometheus.Desc, float64, ...string)) {
	if s.Machine.Look == nil {
		return
	}
	type at struct{ netns, address, container string }
	type queue struct{ length, limit int }
	queues := map[at]queue{}
	var order []at
	for i := range s.Machine.Look.Listeners {
		l := &s.Machine.Look.Listeners[i]
		k := at{strconv.Itoa(int(l.Netns)), l.Address, l.Container}
		q, known := queues[k]
		if !known {
			if len(order) == mostListeners {
				continue
			}
			order = append(order, k)
		}
		queues[k] = queue{q.length + l.Queue, q.limit + l.Backlog}
	}
	for _, k := range order {
		gauge(queueLength, float64(queues[k].length), k.netns, k.address, k.container)
		gauge(queueLimit, float64(queues[k].limit), k.netns, k.address, k.container)
	}
}
