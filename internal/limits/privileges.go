package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Capability is one privilege and whether this process has it.
type Capability struct {
	Name     string
	Why      string // what connprof needs it for
	Has      bool
	Optional bool  // a run goes without it
	Err      error // why that is not known
}

// sysResource is the number of CAP_SYS_RESOURCE.
const sysResource = 24

// Capabilities lists what connprof makes use of, one by one.
func Capabilities(h Host) []Capability {
	effective, err := effectiveCapabilities(h.Root + "/proc/self/status")
	var list []Capability
	for _, c := range capabilities {
		has := effective>>c.bit&1 == 1 || c.or >= 0 && effective>>c.or&1 == 1
		list = append(list, Capability{Name: c.name, Why: c.why, Has: has, Err: err})
	}
	return append(list, Capability{Name: "CAP_SYS_RESOURCE", Why: "to raise a hard limit", Err: err, Optional: true,
		Has: effective>>sysResource&1 == 1})
}

// addSysResource says where a hard limit cannot be raised.
func addSysResource(h Host, r *Reading) error {
	if effective, err := effectiveCapabilities(h.Root + "/proc/self/status"); err == nil && effective>>sysResource&1 == 0 {
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
