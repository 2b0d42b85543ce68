package bpf

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/connprof/connprof/internal/kernel"
)

// enumOf is the values by name of an enum as an object's BTF has it, from which bpf2go made the Go constants.
func enumOf(t *testing.T, load func() (*ebpf.CollectionSpec, error), name string) map[string]uint64 {
	t.Helper()
	spec, err := load()
	if err != nil {
		t.Fatal(err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName(name, &enum); err != nil {
		t.Fatal(err)
	}
	values := map[string]uint64{}
	for _, v := range enum.Values {
		values[v.Name] = v.Value
	}
	return values
}

// sameNumbers wants an enum to have these values and no others.
func sameNumbers[T ~uint8](t *testing.T, enum map[string]uint64, want map[string]T) {
	t.Helper()
	for name, value := range enum {
		if w, ok := want[name]; !ok {
			t.Errorf("%s is not in package kernel", name)
		} else if value != uint64(w) {
			t.Errorf("%s is %d, and %d in package kernel", name, value, w)
		}
	}
	if len(enum) != len(want) {
		t.Errorf("%d values, want %d", len(enum), len(want))
	}
}

func TestObjectTypesHaveTheNumbersThatPackageKernelGivesThem(t *testing.T) {
	enum := enumOf(t, LoadWalk, "object_type")
	if places := enum["TYPE_MAX"]; places < kernel.NumObjectTypes {
		t.Errorf("%d places for %d types", places, kernel.NumObjectTypes)
	}
	delete(enum, "TYPE_MAX")
	want := map[string]kernel.ObjectType{
		"TYPE_TCP_SOCK": kernel.TCPSock, "TYPE_SOCKET_ALLOC": kernel.SocketAlloc, "TYPE_FILE": kernel.File,
		"TYPE_DENTRY": kernel.Dentry, "TYPE_LSM_INODE": kernel.LSMInode, "TYPE_LSM_FILE": kernel.LSMFile,
		"TYPE_LSM_SOCK": kernel.LSMSock, "TYPE_EPITEM": kernel.Epitem, "TYPE_EPPOLL_ENTRY": kernel.EppollEntry,
		"TYPE_EPITEMS_HEAD": kernel.EpitemsHead, "TYPE_BIND_BUCKET": kernel.BindBucket,
		"TYPE_BIND2_BUCKET": kernel.Bind2Bucket, "TYPE_REQUEST_SOCK": kernel.RequestSock,
		"TYPE_TIMEWAIT_SOCK": kernel.TimewaitSock, "TYPE_SK_BUFF": kernel.SKBuff,
		"TYPE_SK_BUFF_FCLONES": kernel.SKBuffFclones, "TYPE_SKB_HEAD": kernel.SKBHead,
	}
	if len(want) != int(kernel.SlabObjExt) { // the rest is computed
		t.Errorf("%d of the %d types that a walk finds", len(want), kernel.SlabObjExt)
	}
	sameNumbers(t, enum, want)
}

func TestRolesHaveTheNumbersThatPackageKernelGivesThem(t *testing.T) {
	sameNumbers(t, enumOf(t, LoadState, "role"), map[string]kernel.Role{"ROLE_NONE": kernel.RoleUnknown,
		"ROLE_CLIENT": kernel.RoleClient, "ROLE_SERVER": kernel.RoleServer})
}
