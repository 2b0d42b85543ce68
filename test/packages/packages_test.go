//go:build packages

// Package packages makes connprof's packages, installs them into an empty directory, and starts the exporter as the service does.
package packages

import (
	"bytes"
	"context"
	"errors"

	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/capability"
)

// limit is how long anything may take. Nothing takes that long unless it hangs.
const limit = 10 * time.Minute

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// cloned is a clone of what is committed: what is not says so in the program, and makes other packages.
func cloned(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	output(t, exec.Command("git", "clone", "--quiet", "../..", dir))
	return dir
}

// made makes the packages of an architecture, of a version if it is not empty.
func made(t *testing.T, arch, version string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../../packaging/packages.sh", arch, dir)
	cmd.Env = os.Environ()
	if version != "" {
		cmd.Env = append(cmd.Env, "CONNPROF_VERSION="+version)
	}
	output(t, cmd)
	return dir
}

// one is the only file of a kind.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s in %s: %v %v", pattern, dir, files, err)
	}
	return files[0]
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// folder is where the packages for amd64 are, once a test has asked for them.
var folder string

func TestMain(m *testing.M) {
	code := m.Run()
	if folder != "" {
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

func amd64(t *testing.T) string {
	t.Helper()
	if folder == "" {
		dir, err := os.MkdirTemp("", "connprof-packages-")
		if err != nil {
			t.Fatal(err)
		}
		output(t, exec.Command(cloned(t)+"/packaging/packages.sh", "amd64", dir))
		folder = dir
	}
	return folder
}

func TestPackagesAreTheSameToTheByte(t *testing.T) {
	first := amd64(t)
	// From another directory, by someone with another umask.
	again := t.TempDir()
	output(t, exec.Command("sh", "-c", "umask 077 && "+cloned(t)+"/packaging/packages.sh amd64 "+again))
	entries, err := os.ReadDir(first)
	if err != nil || len(entries) != 5 {
		t.Fatalf("%v: %v", err, entries)
	}
	for _, e := range entries {
		a, b := read(t, filepath.Join(first, e.Name())), read(t, filepath.Join(again, e.Name()))
		if a != b {
			t.Errorf("%s: %d and %d bytes that differ", e.Name(), len(a), len(b))
		}
	}
	cmd := exec.Command("sha256sum", "--check", "--strict", filepath.Base(one(t, first, "*.sha256")))
	cmd.Dir = first
	if said := output(t, cmd); strings.Count(said, ": OK\n") != 4 {
		t.Error(said)
	}
	if sbom := read(t, one(t, first, "*.sbom.txt")); !strings.Contains(sbom, "github.com/cilium/ebpf") || !strings.Contains(sbom, "GOARCH=amd64") {
		t.Error(sbom)
	}
}

func TestAPackageForAnotherArchitecture(t *testing.T) {
	dir := made(t, "arm64", "")
	deb := one(t, dir, "*.deb")
	if arch := output(t, exec.Command("dpkg-deb", "--field", deb, "Architecture")); strings.TrimSpace(arch) != "arm64" {
		t.Errorf("architecture %s", arch)
	}
	to := t.TempDir()
	output(t, exec.Command("dpkg-deb", "--extract", deb, to))
	if program := read(t, to+"/usr/bin/connprof"); program[18] != 0xb7 { // EM_AARCH64
		t.Errorf("a program for machine %#x", program[18])
	}
}

// lintian knows what a package of Debian has to be.
func TestLintianFindsNoError(t *testing.T) {
	deb := one(t, amd64(t), "*.deb")
	said := output(t, exec.Command("lintian", "--allow-root", "--fail-on", "error", "--tag-display-limit", "0", "--suppress-tags",
		"statically-linked-binary", deb)) // as Go's are
	t.Log(said)
}

// root is an empty directory with dpkg's own files.
type root string

func newRoot(t *testing.T) root {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join(dir, "var/lib/dpkg", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return root(dir)
}

func (r root) dpkg(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, exec.Command("dpkg", append([]string{"--root", string(r), "--log", os.DevNull, "--force-not-root"}, args...)...))
}

// files are those that a package has left, without dpkg's own.
func (r root) files(t *testing.T) (list []string) {
	t.Helper()
	if err := filepath.WalkDir(string(r), func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(string(r), path)
		if err == nil && !strings.HasPrefix(rel, "var/lib/dpkg") && !d.IsDir() {
			list = append(list, "/"+rel)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAPackageIsInstalledUpgradedAndPurged(t *testing.T) {
	old, deb := one(t, made(t, "amd64", "0.0.1"), "*.deb"), one(t, amd64(t), "*.deb")
	r := newRoot(t)
	r.dpkg(t, "--install", old)
	config := string(r) + "/etc/default/connprof-export"
	if err := os.WriteFile(config, []byte("CONNPROF_EXPORT_FLAGS=\"--interval 30s\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.dpkg(t, "--force-confold", "--install", deb)
	if got := read(t, config); !strings.Contains(got, "30s") {
		t.Errorf("the upgrade has taken away what was set: %s", got)
	}
	files := r.files(t)
	for _, want := range []string{"/usr/bin/connprof", "/usr/share/man/man1/connprof.1.gz", "/usr/share/man/man1/connprof-top.1.gz",
		"/usr/share/bash-completion/completions/connprof", "/usr/share/zsh/vendor-completions/_connprof",
		"/usr/share/fish/vendor_completions.d/connprof.fish", "/usr/lib/systemd/system/connprof-export.service",
		"/usr/share/doc/connprof/copyright", "/usr/share/doc/connprof/contrib/grafana/connprof.json"} {
		if !slices.Contains(files, want) {
			t.Errorf("no %s among %q", want, files)
		}
	}
	said := output(t, exec.Command(string(r)+"/usr/bin/connprof", "version"))
	if !strings.HasPrefix(said, "connprof ") {
		t.Error(said)
	}
	for _, page := range []string{"connprof", "connprof-record"} {
		text := output(t, exec.Command("sh", "-c", "gzip -dc "+string(r)+"/usr/share/man/man1/"+page+".1.gz"))
		if !strings.Contains(text, ".TH") || !strings.Contains(text, "SYNOPSIS") {
			t.Errorf("%s: %.500s", page, text)
		}
	}
	r.dpkg(t, "--purge", "connprof")
	if left := r.files(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

var unit = "../../packaging/connprof-export.service"

// given are the capabilities that the service has.
func given(t *testing.T) (caps []uintptr, names []string) {
	t.Helper()
	text := read(t, unit)
	line := regexp.MustCompile(`(?m)^AmbientCapabilities=(.*)$`).FindStringSubmatch(text)
	if line == nil || !strings.Contains(text, "CapabilityBoundingSet="+line[1]+"\n") {
		t.Fatalf("no AmbientCapabilities, or others than in the bounding set: %v", line)
	}
	known := capability.ListKnown()
	for _, name := range strings.Fields(line[1]) {
		at := slices.IndexFunc(known, func(c capability.Cap) bool { return "CAP_"+strings.ToUpper(c.String()) == name })
		if at < 0 {
			t.Fatalf("there is no %s", name)
		}
		caps, names = append(caps, uintptr(known[at])), append(names, name)
	}
	return caps, names
}

// nobody is a user without any right.
const nobody = 65534

var servesAt = regexp.MustCompile(`msg=serving at=(http://\S+)/metrics`)

// exported starts the exporter as nobody with these capabilities, and gives what it serves, or its complaint.
func exported(t *testing.T, program string, caps []uintptr) (metrics, complaint string) {
	t.Helper()
	cmd := exec.Command(program, "export", "--listen", "127.0.0.1:0")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: caps}
	var said lines
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if at := servesAt.FindStringSubmatch(said.String()); at != nil {
			return scrape(t, at[1]), said.String()
		}
		select {
		case err := <-ended:
			ended <- err
			return "", said.String()
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("it does not serve: %s", &said)
		}
	}
}

// lines is what a process has said so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, err)
	}
	return string(b)
}

// The service's capabilities suffice, and of each that is taken away something says what is missing.
func TestTheServicesCapabilitiesSuffice(t *testing.T) {
	program := installed(t)
	output(t, exec.Command(program, "snapshot", "-n", "1")) // ExecStartPre
	caps, names := given(t)
	metrics, said := exported(t, program, caps)
	for _, want := range []string{"connprof_connections{", "connprof_connection_page_bytes{", "connprof_unexplained_bytes ", "connprof_opens_total "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s is served: %s\n%s", want, said, metrics)
		}
	}
	for i, name := range names {
		metrics, said := exported(t, program, slices.Delete(slices.Clone(caps), i, i+1))
		switch name {
		case "CAP_BPF", "CAP_PERFMON":
			if metrics != "" || !strings.Contains(said, name) || strings.Count(said, "\n") != 1 {
				t.Errorf("without %s: %s", name, said)
			}
		case "CAP_DAC_READ_SEARCH":
			if strings.Contains(metrics, "connprof_unexplained_socks ") {
				t.Errorf("without %s there are slab books", name)
			}
		case "CAP_SYS_PTRACE", "CAP_CHECKPOINT_RESTORE": // profiles name less
			if metrics == "" {
				t.Errorf("without %s: %s", name, said)
			}
		default:
			t.Errorf("what %s is for is not tried", name)
		}
	}
}

// installed is the program of the package, where nobody may execute it.
func installed(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "connprof-installed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, exec.Command("dpkg-deb", "--extract", one(t, amd64(t), "*.deb"), dir))
	return dir + "/usr/bin/connprof"
}

// What the unit says is what systemd knows.
func TestSystemdTakesTheUnit(t *testing.T) {
	path, err := exec.LookPath("systemd-analyze")
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("systemd-analyze is missing: make package-tools")
	}
	dir := t.TempDir()
	text := strings.ReplaceAll(read(t, unit), "/usr/bin/connprof", "/bin/true")
	file := filepath.Join(dir, "connprof-export.service")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := output(t, exec.Command(path, "verify", "--man=no", file)); said != "" {
		t.Error(said)
	}
}
