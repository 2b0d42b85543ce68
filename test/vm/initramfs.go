package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/u-root/u-root/pkg/cpio"

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

// writeInitramfs makes the archive that the kernel unpacks as its root: the init process, the job, the files.
func writeInitramfs(archive, init string, files map[string]string, job wire.Job) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	// Not compressed: the emulated processor takes seconds to unpack what this machine packs.
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := fillInitramfs(buffered, init, files, job); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func fillInitramfs(w io.Writer, init string, files map[string]string, job wire.Job) error {
	a := archive{cpio.Newc.Writer(w)}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "run", "root", "etc", "var/lib", wire.OutDir} {
		if err := a.add(cpio.Directory(dir, dirPerm)); err != nil {
			return err
		}
	}
	// The kernel opens it as init's standard output before anything is mounted.
	if err := a.add(cpio.CharDev("dev/console", 0o600, 5, 1)); err != nil {
		return err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return err
	}
	if err := a.add(cpio.StaticFile(wire.JobPath, string(text), 0o644)); err != nil {
		return err
	}
	if err := a.addHostFile("init", init); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := a.addHostFile(name, files[name]); err != nil {
			return err
		}
	}
	return cpio.WriteTrailer(a)
}

// archive is one in the "newc" format that the kernel unpacks its initramfs from (Documentation/driver-api/early-
// userspace/buffer-format.rst). Owner and group are always root, the time is always 0, so that the same content makes the
// same archive.
type archive struct{ cpio.RecordWriter }

const dirPerm = 0o755

// add adds an entry after the directories that it is in, each once: the kernel makes none that is not in the archive.
func (a archive) add(r cpio.Record) error {
	name := cpio.Normalize(r.Name)
	for i, c := range name {
		if c == '/' {
			if err := a.WriteRecord(cpio.Directory(name[:i], dirPerm)); err != nil {
				return err
			}
		}
	}
	return a.WriteRecord(r)
}

// addHostFile copies a file of the host; it is executable in the virtual machine when it is on the host.
func (a archive) addHostFile(name, hostPath string) error {
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
	if info.Size() > math.MaxUint32 {
		return fmt.Errorf("put %s into the initramfs: %d bytes are more than the cpio format can say", name, info.Size())
	}
	perm := uint64(0o644)
	if info.Mode()&0o111 != 0 {
		perm = 0o755
	}
	return a.add(cpio.Record{ReaderAt: io.NewSectionReader(f, 0, info.Size()),
		Info: cpio.Info{Name: name, Mode: cpio.S_IFREG | perm, FileSize: uint64(info.Size())}})
}
