package owner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// madeHierarchy is a tree of directories in place of cgroups, and a /proc that says where it is mounted.
func madeHierarchy(t *testing.T, root string, cgroups ...string) (c *CgroupPaths, mounted string) {
	t.Helper()
	mounted = filepath.Join(t.TempDir(), "with a space")
	for _, dir := range cgroups {
		if err := os.MkdirAll(filepath.Join(mounted, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mounted, dir, "cgroup.procs"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	escaped := strings.ReplaceAll(mounted, " ", `\040`)
	return &CgroupPaths{Proc: procWith(t, "30 22 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
		"31 30 0:28 / "+escaped+"/none rw - cgroup2 cgroup2 rw", // under another mount
		"32 30 0:28 "+root+" "+escaped+" rw - cgroup2 cgroup2 rw",
		"33 30 0:29 / "+escaped+" rw - cgroup cgroup rw,cpu")}, mounted
}

func procWith(t *testing.T, mountinfo ...string) string {
	t.Helper()
	proc := t.TempDir()
	if err := os.Mkdir(filepath.Join(proc, "self"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(proc, "self", "mountinfo"), []byte(strings.Join(mountinfo, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return proc
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Ino
}

func TestACgroupIsFoundByItsID(t *testing.T) {
	for root, cgroups := range map[string]map[string]string{
		"/":         {"": "/", "system.slice/nginx.service": "/system.slice/nginx.service", "a/b/c": "/a/b/c", "a": "/a"},
		"/docker/a": {"": "/docker/a", "init": "/docker/a/init"},
	} {
		var dirs []string
		for dir := range cgroups {
			dirs = append(dirs, dir)
		}
		c, mounted := madeHierarchy(t, root, dirs...)
		for dir, want := range cgroups {
			if got := c.Path(inode(t, filepath.Join(mounted, dir))); got != want || c.Err() != nil {
				t.Errorf("%s below %s is %q, want %q: %v", dir, root, got, want, c.Err())
			}
		}
		if c.Path(0) != "" || c.Path(1<<60) != "" {
			t.Error("what is no cgroup has a path")
		}
	}
}

func TestTheHierarchyIsWalkedOnceUntilRenewed(t *testing.T) {
	c, mounted := madeHierarchy(t, "/", "old")
	old := inode(t, filepath.Join(mounted, "old"))
	if c.Path(old) != "/old" {
		t.Fatal("an old cgroup is not found")
	}
	late := filepath.Join(mounted, "late")
	if err := os.Mkdir(late, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := c.Path(inode(t, late)); got != "" {
		t.Errorf("%q is found without another walk", got)
	}
	c.Renew()
	if got := c.Path(old); got != "/old" || c.walked {
		t.Errorf("%q is known, and yet there was another walk: %v", got, c.walked)
	}
	if got := c.Path(inode(t, late)); got != "/late" {
		t.Errorf("after Renew it is %q", got)
	}
}

func TestWithoutVersion2TheErrorSaysSo(t *testing.T) {
	c := &CgroupPaths{Proc: procWith(t, "31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu")}
	if got := c.Path(7); got != "" || c.Err() == nil || !strings.Contains(c.Err().Error(), "mount -t cgroup2") {
		t.Errorf("%q, %v", got, c.Err())
	}
}

// The kernel's own word for the ID: name_to_handle_at gives it for a directory (FILEID_KERNFS, since Linux 5.5).
func TestRunningKernelsCgroupIDsAreInodes(t *testing.T) {
	c := &CgroupPaths{}
	mount, err := c.mount()
	if err != nil {
		t.Fatal(err)
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, mount.at, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, bytes := uint64(0), handle.Bytes()
	for i := range 8 {
		id |= uint64(bytes[i]) << (8 * i)
	}
	if got, want := c.Path(id), "/"+strings.Trim(mount.root, "/"); got != want {
		t.Errorf("cgroup %d, mounted at %s, is %q, want %q", id, mount.at, got, want)
	}
	if got := fmt.Sprint(inode(t, mount.at)); got != fmt.Sprint(id) {
		t.Errorf("the inode is %s, the ID %d", got, id)
	}
}
