package owner

import (
	"strings"
	"testing"
)

const (
	id1  = "1f0e3dad99908345f7439f8ffabdffc41f0e3dad99908345f7439f8ffabdffc4"
	id2  = "a87ff679a2f3e71d9181a67b7542122ca87ff679a2f3e71d9181a67b7542122c"
	uid  = "7c1f6a52-0b6d-4b1e-9a1c-2f3d4e5a6b7c"
	uid2 = "00000000-1111-2222-3333-444444444444"
	// hash is the UID of a static pod.
	hash = "8f14e45fceea167a5a36dedd4bea2543"
)

// slice is a pod's UID as it is in the name of a slice.
func slice(uid string) string { return strings.ReplaceAll(uid, "-", "_") }

func TestAPathTellsUnitContainerAndPod(t *testing.T) {
	for _, c := range []struct {
		name, path string
		want       Place
	}{
		{"the root", "/", Place{}},
		{"nothing", "", Place{}},
		{"a directory that somebody made", "/process_api/" + hash, Place{}},

		{"a service", "/system.slice/nginx.service", Place{Unit: "nginx.service"}},
		{"a part of a service", "/system.slice/nginx.service/workers", Place{Unit: "nginx.service"}},
		{"an instance of a template", "/system.slice/system-postgresql.slice/postgresql@15-main.service",
			Place{Unit: "postgresql@15-main.service"}},
		{"an escaped name", `/system.slice/system-app.slice/app@a\x2db.service`, Place{Unit: `app@a\x2db.service`}},
		{"a user's service", "/user.slice/user-1000.slice/user@1000.service/app.slice/redis.service", Place{Unit: "redis.service"}},
		{"a user's manager", "/user.slice/user-1000.slice/user@1000.service/init.scope", Place{Unit: "init.scope"}},
		{"a session", "/user.slice/user-1000.slice/session-3.scope", Place{Unit: "session-3.scope"}},
		{"systemd itself", "/init.scope", Place{Unit: "init.scope"}},
		{"a name that systemd had to mark", "/system.slice/_cpu.weight.service", Place{Unit: "cpu.weight.service"}},
		{"a slice alone", "/system.slice", Place{}},
		{"an ending alone", "/.service/.scope", Place{}},
		{"a service that is gone", "/system.slice/nginx.service (deleted)", Place{Unit: "nginx.service"}},

		{"docker", "/docker/" + id1, Place{Container: id1, Runtime: "docker"}},
		{"docker by systemd", "/system.slice/docker-" + id1 + ".scope",
			Place{Unit: "docker-" + id1 + ".scope", Container: id1, Runtime: "docker"}},
		{"docker below a parent of one's own", "/batch/" + id1, Place{Container: id1}},
		{"docker where systemd failed", "/system.slice:docker:" + id1, Place{Container: id1, Runtime: "docker"}},
		{"systemd in docker", "/system.slice/docker-" + id1 + ".scope/system.slice/nginx.service",
			Place{Unit: "nginx.service", Container: id1, Runtime: "docker"}},
		{"docker in docker", "/docker/" + id1 + "/docker/" + id2, Place{Container: id2, Runtime: "docker"}},
		{"dockerd", "/system.slice/docker.service", Place{Unit: "docker.service"}},

		{"containerd in a pod", "/kubepods/besteffort/pod" + uid + "/" + id1, Place{Container: id1, Pod: uid}},
		{"a guaranteed pod", "/kubepods/pod" + uid + "/" + id1, Place{Container: id1, Pod: uid}},
		{"a static pod", "/kubepods/burstable/pod" + hash + "/" + id1, Place{Container: id1, Pod: hash}},
		{"containerd by systemd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + slice(uid) +
			".slice/cri-containerd-" + id1 + ".scope",
			Place{Unit: "cri-containerd-" + id1 + ".scope", Container: id1, Pod: uid, Runtime: "containerd"}},
		{"a guaranteed static pod by systemd", "/kubepods.slice/kubepods-pod" + hash + ".slice/cri-containerd-" + id1 + ".scope",
			Place{Unit: "cri-containerd-" + id1 + ".scope", Container: id1, Pod: hash, Runtime: "containerd"}},
		{"containerd where systemd failed", "/system.slice/containerd.service/kubepods-burstable-pod" + slice(uid) +
			".slice:cri-containerd:" + id1,
			Place{Unit: "containerd.service", Container: id1, Pod: uid, Runtime: "containerd"}},
		{"containerd's namespace", "/k8s.io/" + id1, Place{Container: id1, Runtime: "containerd"}},
		{"a pod alone", "/kubepods/burstable/pod" + uid, Place{Pod: uid}},
		{"kubelet", "/system.slice/kubelet.service", Place{Unit: "kubelet.service"}},
		{"a slice that is no pod's", "/tripod" + slice(uid) + ".slice/x-pod" + slice(uid) + ".slice", Place{}},

		{"cri-o", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + slice(uid) + ".slice/crio-" + id1 +
			".scope", Place{Unit: "crio-" + id1 + ".scope", Container: id1, Pod: uid, Runtime: "cri-o"}},
		{"crun in cri-o", "/kubepods.slice/kubepods-pod" + slice(uid) + ".slice/crio-" + id1 + ".scope/container",
			Place{Unit: "crio-" + id1 + ".scope", Container: id1, Pod: uid, Runtime: "cri-o"}},
		{"cri-o without systemd", "/kubepods/besteffort/pod" + uid + "/crio-" + id1,
			Place{Container: id1, Pod: uid, Runtime: "cri-o"}},
		{"cri-o's monitor", "/kubepods.slice/kubepods-pod" + slice(uid) + ".slice/crio-conmon-" + id1 + ".scope",
			Place{Unit: "crio-conmon-" + id1 + ".scope", Pod: uid}},

		{"podman", "/machine.slice/libpod-" + id1 + ".scope/container",
			Place{Unit: "libpod-" + id1 + ".scope", Container: id1, Runtime: "podman"}},
		{"a user's podman", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope/container",
			Place{Unit: "libpod-" + id1 + ".scope", Container: id1, Runtime: "podman"}},
		{"a user's podman in a podman pod", "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_" + id2 +
			".slice/libpod-" + id1 + ".scope", Place{Unit: "libpod-" + id1 + ".scope", Container: id1, Runtime: "podman"}},
		{"podman in a service", "/system.slice/web.service/libpod-payload-" + id1,
			Place{Unit: "web.service", Container: id1, Runtime: "podman"}},
		{"podman without systemd", "/libpod_parent/libpod-" + id1, Place{Container: id1, Runtime: "podman"}},
		{"podman's monitor", "/machine.slice/libpod-conmon-" + id1 + ".scope", Place{Unit: "libpod-conmon-" + id1 + ".scope"}},

		{"nspawn", "/machine.slice/systemd-nspawn@deb.service/payload/system.slice/ssh.service",
			Place{Unit: "ssh.service", Container: "deb", Runtime: "systemd-nspawn"}},
		{"nspawn itself", "/machine.slice/systemd-nspawn@deb.service/supervisor", Place{Unit: "systemd-nspawn@deb.service"}},
		{"a machine", `/machine.slice/machine-my\x2ddeb.scope/payload`,
			Place{Unit: `machine-my\x2ddeb.scope`, Container: "my-deb", Runtime: "machined"}},
		{"a virtual machine", `/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator`,
			Place{Unit: `machine-qemu\x2d1\x2dvm.scope`}},

		{"lxc", "/lxc.payload.web/system.slice/nginx.service", Place{Unit: "nginx.service", Container: "web", Runtime: "lxc"}},
		{"lxc of old", "/lxc/web", Place{Container: "web", Runtime: "lxc"}},
		{"proxmox", "/lxc/101/ns/system.slice/nginx.service", Place{Unit: "nginx.service", Container: "101", Runtime: "lxc"}},
		{"lxc's monitor", "/lxc.monitor.web", Place{}},

		{"ecs", "/ecs/" + hash + "/" + id1, Place{Container: id1}},
		{"fargate", "/ecs/" + hash + "/" + hash + "-3843155316", Place{Container: hash + "-3843155316"}},

		{"kind", "/docker/" + id1 + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/" +
			"kubelet-kubepods-burstable-pod" + slice(uid) + ".slice/cri-containerd-" + id2 + ".scope",
			Place{Unit: "cri-containerd-" + id2 + ".scope", Container: id2, Pod: uid, Runtime: "containerd"}},
		{"a container in a pod's container", "/kubepods/burstable/pod" + uid + "/" + id1 + "/docker/" + id2,
			Place{Container: id2, Pod: uid, Runtime: "docker"}},
		{"a pod in a pod's container", "/kubepods/pod" + uid + "/" + id1 + "/kubepods/pod" + uid2 + "/" + id2,
			Place{Container: id2, Pod: uid2}},
		{"seen from a cgroup namespace", "/../../pod" + uid + "/" + id1, Place{Container: id1, Pod: uid}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ParseCgroup(c.path); got != c.want {
				t.Errorf("%s tells\n%+v, want\n%+v", c.path, got, c.want)
			}
		})
	}
}

func TestAHostilePathTellsNothing(t *testing.T) {
	for name, path := range map[string]string{
		"an escape sequence":     "/system.slice/\x1b[31mnginx.service",
		"a line feed":            "/lxc/a\nb",
		"bytes that are no text": "/lxc.payload.\xff\xfe",
		"a long name":            "/" + strings.Repeat("x", 4096) + ".service",
		"an ID too long":         "/docker/" + id1 + "0",
		"an ID too short":        "/docker/" + id1[1:],
		"an ID in capitals":      "/docker/" + strings.ToUpper(id1),
		"up and away":            "/docker/" + id1 + "/..",
	} {
		if got := ParseCgroup(path); got != (Place{}) {
			t.Errorf("%s: %.80q tells %+v", name, path, got)
		}
	}
	deep := strings.Repeat("/a", 100_000) + "/docker/" + id1
	if got := ParseCgroup(deep); got.Container != id1 {
		t.Errorf("a path of %d bytes tells %+v", len(deep), got)
	}
}

func TestAMachinesNameIsTextAfterUnescaping(t *testing.T) {
	for path, want := range map[string]string{
		`/machine.slice/machine-a\x1bb.scope`: "", `/machine.slice/machine-a\x2fb.scope`: "",
		`/machine.slice/machine-a\xzz.scope`: `a\xzz`, `/machine.slice/machine-a\x2.scope`: `a\x2`,
		`/machine.slice/machine-a\x2db\x2dc.scope`: "a-b-c",
	} {
		if got := ParseCgroup(path).Container; got != want {
			t.Errorf("%s is the container %q, want %q", path, got, want)
		}
	}
}

// Whatever the path, what it tells is text that a terminal can show, and a part of the path where nothing is escaped.
func FuzzParseCgroup(f *testing.F) {
	for _, path := range []string{"/docker/" + id1, "/lxc/web", `/machine.slice/machine-my\x2ddeb.scope/supervisor`,
		"/system.slice/nginx.service (deleted)", "/../../pod" + uid + "/" + id1, "/kubepods.slice/kubepods-pod" + hash + ".slice",
		"/system.slice/containerd.service/kubepods-burstable-pod" + slice(uid) + ".slice:cri-containerd:" + id1,
		"/ecs/" + hash + "/" + hash + "-12"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := ParseCgroup(path)
		for _, text := range []string{p.Unit, p.Container, p.Pod, p.Runtime} {
			if text != "" && !isName(text) {
				t.Errorf("%q tells %+q", path, text)
			}
		}
		if p.Runtime != "" && p.Container == "" {
			t.Errorf("%q tells the runtime %s of no container", path, p.Runtime)
		}
		if !strings.Contains(path, `\x`) && !strings.Contains(path, p.Container) {
			t.Errorf("%q tells the container %s", path, p.Container)
		}
	})
}
