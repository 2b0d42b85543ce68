package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/connprof/connprof/test/vm/wire"
)

const initPackage = "github.com/connprof/connprof/test/vm/init"

// buildInit compiles the init process into dir and gives its path. It must be static: the initramfs has no libraries.
func buildInit(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "init")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", binary, initPackage)
	// qemu's default processor has nothing beyond the first level of amd64.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the virtual machine's init: %w\n%s", err, bytes.TrimSpace(out))
	}
	return binary, nil
}

// writeInitramfs makes the archive that the kernel unpacks as its root: the init process, the plan, the files.
func writeInitramfs(archive, init string, files map[string]string, plan wire.Plan) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	// Not compressed: the emulated processor takes seconds to unpack what this machine packs.
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := fillInitramfs(buffered, init, files, plan); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func fillInitramfs(w io.Writer, init string, files map[string]string, plan wire.Plan) error {
	c := newCpioWriter(w)
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "run", "root", "etc", "var/lib", wire.OutDir} {
		if err := c.dir(dir); err != nil {
			return err
		}
	}
	// The kernel opens it as init's standard output before anything is mounted.
	if err := c.device("dev/console", 0o600, 5, 1); err != nil {
		return err
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	if err := c.file(wire.PlanPath, 0o644, int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	if err := addHostFile(c, "init", init); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := addHostFile(c, name, files[name]); err != nil {
			return err
		}
	}
	return c.close()
}

// addHostFile copies a file of the host; it is executable in the virtual machine when it is on the host.
func addHostFile(c *cpioWriter, name, hostPath string) error {
	f, err := os.Open(hostPath)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("put %s into the initramfs: %s is no regular file: give the files in it one by one", name, hostPath)
	}
	perm := uint32(0o644)
	if info.Mode()&0o111 != 0 {
		perm = 0o755
	}
	return c.file(name, perm, info.Size(), f)
}
