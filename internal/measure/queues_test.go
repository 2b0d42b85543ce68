package measure

import (
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/test/check"
)

// drop has a socket throw away every packet that comes in, so that the other end waits for an answer.
func (s *scene) drop(sockets ...int) {
	s.t.Helper()
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	for _, fd := range sockets {
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: 1, Filter: &nothing[0]}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// send sends n messages on each socket, each of which gets an sk_buff of its own (MSG_EOR).
func (s *scene) send(n int, sockets ...int) {
	s.t.Helper()
	for _, fd := range sockets {
		s.setOption(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
		s.setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		for range n {
			if err := unix.Sendmsg(fd, make([]byte, 100), nil, nil, unix.MSG_EOR|unix.MSG_DONTWAIT); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func (s *scene) setOption(fd, level, option, value int) {
	s.t.Helper()
	if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
		s.t.Fatal(err)
	}
}

// queued is what a row's endpoints have in their queues.
func queued(pairs, plain, heads int) map[string]int {
	return map[string]int{"sk_buff_fclones": pairs, "sk_buff": plain, "skb_head": heads}
}

// memory adds up what the kernel says of the sockets' queues, as `ss -m` shows it.
func (s *scene) memory(sockets []int) uint64 {
	s.t.Helper()
	const rmem, wmem, option, backlog = 0, 5, 6, 7 // SK_MEMINFO_*, include/uapi/linux/sock_diag.h
	sum := uint64(0)
	for _, fd := range sockets {
		var v [16]uint32
		size := uint32(unsafe.Sizeof(v))
		if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
			s.t.Fatal(errno)
		}
		sum += uint64(v[rmem]) + uint64(v[wmem]) + uint64(v[option]) + uint64(v[backlog])
	}
	return sum
}

func bufferBytes(rec *recording.Machine, role kernel.Role) uint64 {
	sum := uint64(0)
	for _, row := range rec.Endpoints {
		if row.Role == role {
			sum += row.BufferBytes
		}
	}
	return sum
}

// wantSkipped wants n endpoints that the walk says it has not followed to their end.
func (s *scene) wantSkipped(n uint64) {
	s.t.Helper()
	if got := s.plain.ledger.Skipped(); got != n {
		s.t.Errorf("the walk has not followed %d endpoints to their end, want %d", got, n)
	}
}

// wantBuffers wants the buffer bytes of both roles to be the kernel's own.
func (s *scene) wantBuffers(rec *recording.Machine, clients, servers []int) {
	s.t.Helper()
	for role, sockets := range map[kernel.Role][]int{kernel.RoleClient: clients, kernel.RoleServer: servers} {
		if got, want := bufferBytes(rec, role), s.memory(sockets); got != want {
			s.t.Errorf("%d buffer bytes of %ss, the kernel says %d", got, role, want)
		}
	}
}

func TestWhatIsSentOrUnsentIsTheSenders(t *testing.T) {
	const n = 20
	for _, c := range []struct {
		name     string
		messages int
	}{{"unacknowledged", 5}, {"beyond the congestion window", 60}} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.watch()
			l := s.listen(n)
			clients, servers := s.open(l, n)
			s.drop(servers...)
			s.send(c.messages, clients...)
			rec, _ := s.finish(0)
			all := n * c.messages
			s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", queued(all, 0, all))
			s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", queued(0, 0, 0))
			s.wantBuffers(rec, clients, servers)
			if bufferBytes(rec, kernel.RoleClient) == 0 {
				t.Error("nothing is queued: the test would prove nothing")
			}
			s.wantSkipped(0)
		})
	}
}

// The trees of the retransmit queues take every shape on the way from one message to many.
func TestEachNumberOfUnacknowledgedMessagesIsCounted(t *testing.T) {
	const most = 60
	s := newScene(t)
	s.watch()
	l := s.listen(most)
	clients, servers := s.open(l, most)
	s.send(10, clients...) // opens the congestion windows
	s.send(10, clients...)
	s.await("ESTABLISHED", 2*most)
	time.Sleep(100 * time.Millisecond)
	s.drop(servers...)
	all := 0
	for i, fd := range clients {
		s.send(i, fd)
		all += i
	}
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", queued(all, 0, all))
}

// Where the kernel's verifier goes through each turn of a loop, the walk follows 64 of them and works the rest out from the charge.
func TestALongQueueIsCountedWhole(t *testing.T) {
	const n, messages = 5, 400
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients, servers := s.open(l, n)
	s.drop(servers...)
	s.send(messages, clients...)
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", queued(n*messages, 0, n*messages))
	s.wantSkipped(0)
}

// Over loopback the sender keeps an sk_buff, and the receiver has its clone. They are one object.
func TestDataQueuedAtBothEndsIsCountedOnce(t *testing.T) {
	const n, messages = 20, 3
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients, servers := s.open(l, n)
	s.drop(clients...) // acknowledgements
	s.send(messages, clients...)
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", queued(n*messages, 0, n*messages))
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", queued(0, 0, 0))
	s.wantBuffers(rec, clients, servers)
	if bufferBytes(rec, kernel.RoleServer) == 0 {
		t.Error("the servers have nothing unread: the test would prove nothing")
	}
}

func TestFourMebibytesThatNobodyReadsStayInBothQueues(t *testing.T) {
	const payload = 4 << 20
	s := newScene(t)
	s.watch()
	l := s.listen(1)
	s.setOption(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<10)
	clients, servers := s.open(l, 1)
	s.setOption(clients[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*payload)
	if n, err := unix.SendmsgN(clients[0], make([]byte, payload), nil, nil, unix.MSG_DONTWAIT); n != payload || err != nil {
		t.Fatalf("%d bytes sent: %v", n, err)
	}
	time.Sleep(300 * time.Millisecond) // longer than an acknowledgement may be delayed
	rec, _ := s.finish(0)
	s.wantBuffers(rec, clients, servers)
	_, objects := check.Objects(rec, kernel.RoleClient, "ESTABLISHED")
	if pairs := objects["sk_buff_fclones"]; bufferBytes(rec, kernel.RoleClient) < payload/2 || pairs == 0 || pairs != objects["skb_head"] {
		t.Errorf("%d buffer bytes in %v", bufferBytes(rec, kernel.RoleClient), objects)
	}
}

func TestTimeStampsNotYetReadAreTheSenders(t *testing.T) {
	const n, messages = 20, 3
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients, servers := s.open(l, n)
	for _, fd := range clients {
		s.setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_TX_SOFTWARE|
			unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_OPT_TSONLY)
	}
	s.send(messages, clients...)
	for _, fd := range servers {
		if _, err := unix.Read(fd, make([]byte, messages*100)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", queued(0, n*messages, n*messages))
	s.wantBuffers(rec, clients, servers)
}

// Segments with gaps between them wait in the tree of what came out of order. A raw socket sends them: what comes from
// another TCP socket of this host is that one's until it is acknowledged.
func TestSegmentsOutOfOrderAreTheReceivers(t *testing.T) {
	const n, most = 10, 60
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients, servers := s.open(l, n)
	all := 0
	for i, fd := range clients {
		segments := most - i
		all += segments
		s.inject(fd, segments, 50)
	}
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", queued(0, all, all))
	s.wantObjects(rec, kernel.RoleClient, "ESTABLISHED", queued(0, 0, 0))
	s.wantBuffers(rec, clients, servers)
	s.wantSkipped(0)
}

func TestHeadsOfDifferentSizesAreALossThatIsCounted(t *testing.T) {
	const n = 10
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients, _ := s.open(l, n)
	for _, fd := range clients {
		s.inject(fd, 5, 50)
		s.inject(fd, 1, 3000)
	}
	rec, _ := s.finish(0)
	s.wantObjects(rec, kernel.RoleServer, "ESTABLISHED", queued(0, 6*n, 6*n))
	s.wantSkipped(n)
}

// inject sends segments of so many bytes to a client's peer as if they came from the client, all ahead of what was sent,
// none adjacent.
func (s *scene) inject(client, segments, bytes int) {
	s.t.Helper()
	local, err := unix.Getsockname(client)
	if err != nil {
		s.t.Fatal(err)
	}
	raw := -1
	if err := s.network.Do(func() (err error) {
		raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	defer unix.Close(raw)
	const received, sent = 1, 2 // TCP_RECV_QUEUE, TCP_SEND_QUEUE
	seq, ack := s.sequence(client, sent), s.sequence(client, received)
	port := uint16(local.(*unix.SockaddrInet4).Port)
	for i := range segments {
		at := seq + uint32((bytes+50)*(1+i*61%segments)) // out of order among themselves, too: 61 is a prime
		if err := unix.Sendto(raw, segment(port, at, ack, bytes), 0, &unix.SockaddrInet4{Addr: loopback4}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// sequence reads the next number of one of a socket's queues.
func (s *scene) sequence(fd, queue int) uint32 {
	s.t.Helper()
	s.setOption(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	s.setOption(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, queue)
	n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
	if err != nil {
		s.t.Fatal(err)
	}
	s.setOption(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, -1) // off, and no window probe
	return uint32(n)
}

// segment is a TCP segment with an even number of bytes from a port of the loopback address to the listener's.
func segment(from uint16, seq, ack uint32, bytes int) []byte {
	const header = 20
	b := make([]byte, header+bytes)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], listenPort)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13] = header/4<<4, 0x18 // PSH, ACK
	binary.BigEndian.PutUint16(b[14:], 1000)
	sum := uint32(2*(127<<8) + 2*1 + unix.IPPROTO_TCP + len(b)) // the pseudo header: 127.0.0.1 twice
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[16:], ^uint16(sum))
	return b
}

// Under SLUB the free objects of slabs that a CPU has taken count as active, before and after.
func TestQueuedPairsAreThoseOfTheirSlabCache(t *testing.T) {
	const n, messages = 400, 8
	s := newScene(t)
	s.watch()
	l := s.listen(n)
	clients, servers := s.open(l, n)
	s.drop(servers...)
	before, err := ReadSlabs()
	if err != nil {
		t.Fatal(err)
	}
	s.send(messages, clients...)
	rec, _ := s.plain.account(before)
	compared := 0
	for _, row := range rec.Endpoints {
		for _, o := range row.Objects {
			if o.Type != kernel.SKBuffFclones.String() && o.Type != kernel.SKBHead.String() {
				continue
			}
			compared++
			grown := int(s.plain.after.Slabs[o.Cache].ActiveObjects) - int(before.Slabs[o.Cache].ActiveObjects)
			if o.Count != n*messages || grown < n*messages*4/5 || grown > n*messages*6/5 {
				t.Errorf("%d of %s, want %d; %s grew by %d", o.Count, o.Type, n*messages, o.Cache, grown)
			}
		}
	}
	if compared != 2 {
		t.Errorf("%d types compared, want both", compared)
	}
}
