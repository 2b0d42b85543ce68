package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/privilege"
)

// Capability is one privilege and whether this process has it.
type Capability struct {
	Name     string
	Why      string // what connprof needs it for
	Has      bool
	Optional bool  // a run goes without it
	Within   bool  // it has it within a user namespace only, which is not enough
	Err      error // why that is not known
}

// The capabilities that a run uses.
var needs = []privilege.Need{
	{Cap: capability.CAP_SYS_ADMIN, Purpose: "to make a network namespace"},
	{Cap: capability.CAP_NET_ADMIN, Purpose: "to add alias addresses in it"},
	{Cap: capability.CAP_BPF, Within: []capability.Cap{capability.CAP_SYS_ADMIN}, Purpose: "to load BPF programs"},
	{Cap: capability.CAP_PERFMON, Within: []capability.Cap{capability.CAP_SYS_ADMIN}, Purpose: "to attach them to tracepoints"},
	{Cap: capability.CAP_SYSLOG, Purpose: "to see kernel addresses in /proc/kallsyms"},
}

// sysResource is one that a run goes without.
var sysResource = privilege.Need{Cap: capability.CAP_SYS_RESOURCE, Purpose: "to raise a hard limit"}

// CheckPrivileges fails when the process lacks a capability that a command with probes needs.
func CheckPrivileges(command string) error {
	missing, err := privilege.Lacking(needs...)
	if err != nil {
		return err
	}
	if (Host{}).userNamespace() {
		return fmt.Errorf("connprof %s needs root of the host, and here root is only that of a user namespace; run it outside that", command)
	}
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("connprof %s needs root: it lacks %s; run it with sudo", command, missing[0])
	}
	return errors.New("root here lacks " + strings.Join(missing, ", ") +
		"; run outside the container, or give it these capabilities")
}

func (h Host) capabilities() (privilege.Set, error) {
	if h.Capabilities != nil {
		return h.Capabilities, nil
	}
	return privilege.Effective()
}

// firstUserNamespace is the inode number of the namespace that the host booted with (PROC_USER_INIT_INO).
const firstUserNamespace = 0xEFFFFFFD

// userNamespace tells whether the capabilities are only those within a user namespace of its own: BPF and the host's limits want
// the first one's (ns_capable(&init_user_ns)).
func (h Host) userNamespace() bool {
	n := inode(h.Root + "/proc/self/ns/user")
	return n != 0 && n != firstUserNamespace
}

// Capabilities lists what connprof makes use of, one by one.
func Capabilities(h Host) []Capability {
	own, err := h.capabilities()
	namespaced := h.userNamespace()
	var list []Capability
	for _, n := range append(slices.Clone(needs), sysResource) {
		meets := err == nil && own.Meets(n)
		list = append(list, Capability{Name: n.Name(), Why: n.Purpose, Has: meets && !namespaced, Within: meets && namespaced, Err: err,
			Optional: n.Cap == sysResource.Cap})
	}
	return list
}

// addSysResource says where a hard limit cannot be raised.
func addSysResource(h Host, r *Reading) error {
	if own, err := h.capabilities(); err == nil && (h.userNamespace() || !own.Meets(sysResource)) {
		r.Note = "this process lacks CAP_SYS_RESOURCE: raise it where the shell is started (LimitNOFILE=, ulimits)"
	}
	return nil
}

// lockdownPath is where securityfs is mounted, if it is.
const lockdownPath = "/sys/kernel/security/lockdown"

// Lockdown is the kernel's lockdown mode: none, integrity or confidentiality.
func Lockdown(h Host) (string, error) {
	text, err := h.text(lockdownPath)
	if errors.Is(err, fs.ErrNotExist) && h.Root == "" {
		text, err = lockdownUnmounted()
	}
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(text, "[") // none [integrity] confidentiality
	mode, _, closed := strings.Cut(rest, "]")
	if !ok || !closed {
		return "", fmt.Errorf("parse %s: no mode is marked in %q", lockdownPath, text)
	}
	return mode, nil
}

// lockdownUnmounted reads it from a securityfs that only this function sees: mounted nowhere, and gone with its
// descriptor (fsopen, fsmount: 5.2).
func lockdownUnmounted() (string, error) {
	explain := func(err error) error {
		return fmt.Errorf("securityfs is not mounted (%w): mount -t securityfs securityfs /sys/kernel/security", err)
	}
	config, err := unix.Fsopen("securityfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return "", explain(err)
	}
	defer unix.Close(config)
	if err := unix.FsconfigCreate(config); err != nil {
		return "", explain(err)
	}
	mount, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return "", explain(err)
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, "lockdown", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return "[none]", nil // securityfs without the file: the kernel has no lockdown
	}
	if err != nil {
		return "", explain(err)
	}
	f := os.NewFile(uintptr(fd), lockdownPath)
	defer f.Close()
	b := make([]byte, 128)
	n, err := f.Read(b)
	if err != nil {
		return "", explain(err)
	}
	return strings.TrimSpace(string(b[:n])), nil
}
