package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/netcfg"
)

// zoo is a network namespace with a known number of sockets of each kind, all of this process.
type zoo struct {
	network  *netcfg.Private
	listener int
	to       unix.Sockaddr
	address  netip.AddrPort
	files    []int
}

// The number of each kind in a zoo.
const (
	zooEstablished = 4
	zooUnread      = 2
	zooUnaccepted  = 3
	zooCloseWait   = 5
	zooTimeWait    = 2
	zooBound       = 2
	zooUnbound     = 1
	unreadEach     = 10_000
)

// newZoo opens them. Two zoos have the same addresses.
func newZoo(t *testing.T) *zoo {
	t.Helper()
	z := emptyZoo(t)
	if err := z.network.Do(z.fill); err != nil {
		t.Fatal(err)
	}
	return z
}

// emptyZoo is the network alone.
func emptyZoo(t *testing.T) *zoo {
	t.Helper()
	network, err := netcfg.NewPrivate(netcfg.Config{ClientAddresses: 1, Sockets: 1000})
	if err != nil {
		t.Fatal(err)
	}
	z := &zoo{network: network}
	t.Cleanup(func() {
		for _, fd := range z.files {
			_ = unix.Close(fd)
		}
		network.Close()
	})
	return z
}

func (z *zoo) keep(fd int, err error) (int, error) {
	if err == nil {
		z.files = append(z.files, fd)
	}
	return fd, err
}

func (z *zoo) socket() (int, error) {
	return z.keep(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
}

const zooPort = 4321

func (z *zoo) fill() error {
	return z.open([]zooStep{{1, z.listen}, {zooEstablished, z.established}, {zooUnread, z.unread}, {zooCloseWait, z.closeWait},
		{zooTimeWait, z.timeWait}, {1, z.inFlight},
		{zooUnbound, func() error { _, err := z.socket(); return err }}, {zooBound, z.bound}, {zooUnaccepted, z.unaccepted}})
}

func (z *zoo) listen() (err error) {
	if z.listener, err = z.socket(); err != nil {
		return err
	}
	z.address = netip.AddrPortFrom(z.network.Server, zooPort)
	z.to = &unix.SockaddrInet4{Port: zooPort, Addr: z.network.Server.As4()}
	return errors.Join(unix.Bind(z.listener, z.to), unix.Listen(z.listener, 64))
}

// zooStep opens so many of a kind.
type zooStep struct {
	times int
	do    func() error
}

func (z *zoo) open(steps []zooStep) error {
	for i, step := range steps {
		for range step.times {
			if err := step.do(); err != nil {
				return fmt.Errorf("step %d: %w", i, err)
			}
		}
	}
	return nil
}

func (z *zoo) unaccepted() error {
	client, err := z.socket()
	return errors.Join(err, unix.Connect(client, z.to))
}

func (z *zoo) pair() (client, server int, err error) {
	if client, err = z.socket(); err != nil {
		return 0, 0, err
	}
	if err := unix.Connect(client, z.to); err != nil {
		return 0, 0, err
	}
	fd, _, err := unix.Accept4(z.listener, unix.SOCK_CLOEXEC)
	server, err = z.keep(fd, err)
	return client, server, err
}

func (z *zoo) established() error {
	_, _, err := z.pair()
	return err
}

func (z *zoo) unread() error {
	client, _, err := z.pair()
	if err != nil {
		return err
	}
	n, err := unix.Write(client, make([]byte, unreadEach))
	if err == nil && n != unreadEach {
		err = fmt.Errorf("%d bytes were written of %d", n, unreadEach)
	}
	return err
}

// closeWait leaves a server that does not close.
func (z *zoo) closeWait() error {
	client, _, err := z.pair()
	return errors.Join(err, unix.Shutdown(client, unix.SHUT_WR))
}

func (z *zoo) timeWait() error {
	_, _, err := z.pair()
	if err != nil {
		return err
	}
	last := len(z.files) - 2
	for _, fd := range z.files[last:] {
		err = errors.Join(err, unix.Close(fd))
	}
	z.files = z.files[:last]
	return err
}

func (z *zoo) bound() error {
	fd, err := z.socket()
	return errors.Join(err, unix.Bind(fd, &unix.SockaddrInet4{Addr: z.network.Server.As4()}))
}

// inFlight leaves a client in a message that nobody has received.
func (z *zoo) inFlight() error {
	client, _, err := z.pair()
	if err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	z.files = append(z.files, ends[:]...)
	if err := unix.Sendmsg(ends[0], []byte{0}, unix.UnixRights(client), nil, 0); err != nil {
		return err
	}
	for i, fd := range z.files {
		if fd == client {
			z.files = append(z.files[:i], z.files[i+1:]...)
			return unix.Close(client)
		}
	}
	return errors.New("the client is not among the files")
}

// kind is what a snapshot tells sockets apart by.
type kind struct {
	netns uint32
	owner recording.OwnerKind
	role  kernel.Role
	state string
}

// kinds is the number of each kind of a zoo.
func (z *zoo) kinds() map[kind]int {
	n := z.network.Inode()
	const accepted = zooEstablished + zooUnread + 1 // and that whose client is in flight
	return map[kind]int{
		{n, recording.OwnerProcess, kernel.RoleListener, "LISTEN"}:        1,
		{n, recording.OwnerProcess, kernel.RoleClient, "ESTABLISHED"}:     zooEstablished + zooUnread + zooUnaccepted,
		{n, recording.OwnerProcess, kernel.RoleServer, "ESTABLISHED"}:     accepted,
		{n, recording.OwnerAcceptQueue, kernel.RoleServer, "ESTABLISHED"}: zooUnaccepted,
		{n, recording.OwnerProcess, kernel.RoleServer, "CLOSE_WAIT"}:      zooCloseWait,
		{n, recording.OwnerProcess, kernel.RoleClient, "FIN_WAIT2"}:       zooCloseWait,
		{n, recording.OwnerTimeWait, kernel.RoleClient, "TIME_WAIT"}:      zooTimeWait,
		{n, recording.OwnerInFlight, kernel.RoleClient, "ESTABLISHED"}:    1,
		{n, recording.OwnerProcess, kernel.RoleUnknown, "CLOSE"}:          zooBound + zooUnbound,
	}
}

// snapshot takes one, and gives the machine's part.
func snapshot(t *testing.T, args ...string) *recording.Machine {
	t.Helper()
	cmd := command(t, append([]string{"snapshot", "-o", "snapshot.json"}, args...)...)
	finish(t, cmd).exits(t, exitDone)
	rec := readRecording(t, cmd.Dir+"/snapshot.json")
	if rec.Kind != recording.KindSnapshot || len(rec.Machines) != 1 {
		t.Fatalf("a recording of kind %s with %d machines", rec.Kind, len(rec.Machines))
	}
	return rec.Machines[0]
}

func TestASnapshotFindsSocketsOfEveryKindWithTheirOwners(t *testing.T) {
	zoos := []*zoo{newZoo(t), newZoo(t)}
	m := snapshot(t)
	found := map[kind]int{}
	unread := map[uint32]uint64{}
	for _, g := range m.Groups {
		found[kind{g.Netns, g.Owner, g.Role, g.State}] += g.Count
		if g.Role == kernel.RoleServer {
			unread[g.Netns] += g.UnreadBytes
		}
		if g.Owner == recording.OwnerProcess && (g.Netns == zoos[0].network.Inode() || g.Netns == zoos[1].network.Inode()) &&
			g.PID != os.Getpid() {
			t.Errorf("%d sockets of this process are said to be %s's (%d)", g.Count, g.Comm, g.PID)
		}
	}
	for _, z := range zoos {
		for k, n := range z.kinds() {
			if found[k] != n {
				t.Errorf("%+v: %d found, want %d", k, found[k], n)
			}
		}
		if got := unread[z.network.Inode()]; got != zooUnread*unreadEach {
			t.Errorf("%d bytes are unread in namespace %d, want %d", got, z.network.Inode(), zooUnread*unreadEach)
		}
		if !hasQueue(m, z) {
			t.Errorf("the listeners do not tell of %d that wait: %+v", zooUnaccepted, m.Look.Listeners)
		}
	}
}

func hasQueue(m *recording.Machine, z *zoo) bool {
	for _, l := range m.Look.Listeners {
		if l.Netns == z.network.Inode() && l.Address == z.address.String() {
			return l.Queue == zooUnaccepted && l.Backlog == 64 && l.PID == os.Getpid()
		}
	}
	return false
}

func TestASnapshotOfOneNamespaceHasItsSocketsAlone(t *testing.T) {
	one, other := newZoo(t), newZoo(t)
	m := snapshot(t, "--netns", strconv.Itoa(int(one.network.Inode())))
	want := 0
	for _, n := range one.kinds() {
		want += n
	}
	got := 0
	for _, row := range m.Endpoints {
		got += row.Count
	}
	if got != want {
		t.Errorf("%d endpoints, want %d", got, want)
	}
	for _, g := range m.Groups {
		if g.Netns == other.network.Inode() {
			t.Errorf("a group of the other namespace: %+v", g)
		}
	}
	if b := m.Books; b == nil || b.Sockets.Walked < 2*want-2*zooTimeWait-2*(zooBound+zooUnbound) {
		t.Errorf("the books are not of the whole host: %+v", b)
	}
}
