package kernel

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRolesAreNamedAsInTheRecording(t *testing.T) {
	want := map[Role]string{RoleUnknown: "unknown", RoleClient: "client", RoleServer: "server", RoleListener: "listener",
		RoleBoth: "both", 77: "unknown"}
	for r, name := range want {
		if r.String() != name {
			t.Errorf("Role(%d) is %q, want %q", r, r, name)
		}
	}
}

func TestStatesAreNamedAsInTheKernel(t *testing.T) {
	// include/net/tcp_states.h, from 1 on
	names := strings.Fields("ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK " +
		"LISTEN CLOSING SYN_RECV")
	for i, name := range names {
		if got := State(i + 1).String(); got != name {
			t.Errorf("state %d is %q, want %q", i+1, got, name)
		}
	}
	for s, name := range map[State]string{StateEstablished: "ESTABLISHED", StateTimeWait: "TIME_WAIT",
		StateListen: "LISTEN", StateNewSynRecv: "SYN_RECV", 0: "state 0", 13: "state 13", 255: "state 255"} {
		if s.String() != name {
			t.Errorf("State(%d) is %q, want %q", uint8(s), s, name)
		}
	}
}

func TestBufferBytesLeaveOutTheReservation(t *testing.T) {
	tests := []struct {
		buffers Buffers
		want    uint64
	}{
		{Buffers{}, 0},
		{Buffers{Rmem: 1, Wmem: 20, Backlog: 300, Option: 4000}, 4321},
		{Buffers{Forward: 4096}, 0},
		{Buffers{Rmem: 10, Forward: -4096}, 10},
		{Buffers{Rmem: math.MaxUint32, Wmem: math.MaxUint32}, 2 * math.MaxUint32}, // does not wrap
	}
	for _, test := range tests {
		if got := test.buffers.Bytes(); got != test.want {
			t.Errorf("%+v holds %d bytes, want %d", test.buffers, got, test.want)
		}
	}
}

func TestEveryTypeHasANameOfItsOwnAndASite(t *testing.T) {
	seen := map[string]ObjectType{}
	for i, info := range Types {
		kind := ObjectType(i)
		if info.Name == "" {
			t.Errorf("type %d has no name", i)
		}
		if other, ok := seen[info.Name]; ok {
			t.Errorf("types %d and %d are both named %q", other, i, info.Name)
		}
		seen[info.Name] = kind
		if len(info.Sites) == 0 {
			t.Errorf("nothing allocates %s", info.Name)
		}
		if kind.String() != info.Name {
			t.Errorf("type %d prints as %q, its name is %q", i, kind, info.Name)
		}
	}
	if int(NFConnExt) != NumObjectTypes-1 {
		t.Errorf("the last of the computed types, %d, is not the last of %d", NFConnExt, NumObjectTypes)
	}
}

func TestSitesLeadToTheirTypes(t *testing.T) {
	tests := map[string][]ObjectType{
		"sk_prot_alloc":       {TCPSock},
		"alloc_empty_file":    {File},
		"__d_alloc":           {Dentry},
		"do_epoll_ctl":        {Epitem, EpitemsHead}, // told apart by their caches
		"ep_insert":           {Epitem, EpitemsHead},
		"attach_epitem":       {EpitemsHead},
		"inet_twsk_alloc":     {TimewaitSock},
		"alloc_slab_obj_exts": {SlabObjExt},
		"vfs_read":            nil,
		"":                    nil,
	}
	for function, want := range tests {
		if got := TypesAt(function); !slices.Equal(got, want) {
			t.Errorf("%s allocates %v, want %v", function, got, want)
		}
	}
	for i, info := range Types {
		for _, site := range info.Sites {
			if !slices.Contains(TypesAt(site), ObjectType(i)) {
				t.Errorf("%s is not found at its site %s", info.Name, site)
			}
			if BaseName(site) != site {
				t.Errorf("site %s of %s has a compiler's suffix and is never found", site, info.Name)
			}
		}
	}
}

func TestOptionsOfTheKernelConfiguration(t *testing.T) {
	const config = "# Linux/x86\nCONFIG_BPF=y\nCONFIG_BPF_JIT=m\nCONFIG_HZ=250\n# CONFIG_KPROBES is not set\n"
	for name, want := range map[string]string{"CONFIG_BPF": "y", "CONFIG_BPF_JIT": "m", "CONFIG_HZ": "250",
		"CONFIG_KPROBES": "n", "CONFIG_NONE": "n", "CONFIG_BP": "n"} {
		if got := scanConfig(strings.NewReader(config), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestRunningKernelHasAReleaseAndAMachine(t *testing.T) {
	release, machine := Release()
	if len(strings.Split(release, ".")) < 3 || machine == "" || machine == "unknown" {
		t.Errorf("release %q, machine %q", release, machine)
	}
}

func TestRolesAreReadAsTheyAreWritten(t *testing.T) {
	for r := RoleUnknown; r <= RoleBoth; r++ {
		text, err := r.MarshalText()
		var back Role
		if err := errors.Join(err, back.UnmarshalText(text)); err != nil || back != r {
			t.Errorf("%s is read as %s: %v", r, back, err)
		}
	}
	var r Role
	if err := r.UnmarshalText([]byte("other")); err != nil || r != RoleUnknown { // of schema 1
		t.Errorf("other is %s: %v", r, err)
	}
	if err := r.UnmarshalText([]byte("emperor")); err == nil {
		t.Error("there is a role emperor")
	}
}

func TestAnEndpointIsUnacceptedUntilAProcessHasIt(t *testing.T) {
	with := func(dead bool, types ...ObjectType) (e Endpoint) {
		e.Dead = dead
		for _, typ := range types {
			e.Objects[typ] = 1
		}
		return e
	}
	tests := map[string]struct {
		endpoint Endpoint
		want     bool
	}{
		"in a handshake":      {with(false, RequestSock), true},
		"in an accept queue":  {with(false, TCPSock), true},
		"a process has it":    {with(false, TCPSock, SocketAlloc, File), false},
		"the kernel's own":    {with(false, TCPSock, SocketAlloc), false},
		"an orphan":           {with(true, TCPSock), false},
		"what TIME_WAIT left": {with(false, TimewaitSock), false},
	}
	for name, test := range tests {
		if got := test.endpoint.Unaccepted(); got != test.want {
			t.Errorf("%s: unaccepted is %v, want %v", name, got, test.want)
		}
	}
}

func TestAFinIsNoUnreadData(t *testing.T) {
	for _, c := range []struct {
		state        State
		unread, want uint32
	}{{StateEstablished, 100, 100}, {StateCloseWait, 101, 100}, {StateCloseWait, 1, 0}, {StateCloseWait, 0, 0}, {stateLastAck, 6, 5},
		{stateClosing, 1, 0}} {
		e := Endpoint{State: c.state, Live: Live{Unread: c.unread}}
		if got := e.UnreadData(); got != c.want {
			t.Errorf("%d unread in %v: %d bytes of data, want %d", c.unread, c.state, got, c.want)
		}
	}
}
