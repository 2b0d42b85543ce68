package owner

import (
	"strconv"
	"strings"
)

// container is what the name of a cgroup tells of a container.
type container struct{ id, runtime string }

// The runtimes whose own process is below the cgroup that names the container.
const (
	nspawnRuntime   = "systemd-nspawn"
	machinedRuntime = "machined"
)

// runtimes are what container runtimes put before the ID, and the names that people know them by. What ends in conmon- is
// the cgroup of a container's monitor, which is none.
var runtimes = []struct{ prefix, name string }{
	{"docker", "docker"}, {"cri-containerd", "containerd"}, {"nerdctl", "containerd"}, {"crio", "cri-o"},
	{"libpod", "podman"}, {"libpod-payload", "podman"},
}

// containerForms are the ways in which runtimes name the cgroup of a container.
var containerForms = []func(name, parent string) (container, bool){
	prefixedID, sliceWithPrefix, bareID, lxc, machine, nspawn,
}

func containerOf(name, parent string) (container, bool) {
	for _, form := range containerForms {
		if c, is := form(name, parent); is {
			return c, true
		}
	}
	return container{}, false
}

// isID tells whether it is the ID of a container, a random number or a hash of 256 bits.
func isID(s string) bool { return isHex(s, 64) }

// prefixedID is docker-<id>.scope as systemd makes it, or crio-<id> as runtimes do without systemd.
func prefixedID(name, _ string) (container, bool) {
	name = strings.TrimSuffix(name, ".scope")
	at := strings.LastIndexByte(name, '-')
	if at < 0 || !isID(name[at+1:]) {
		return container{}, false
	}
	for _, r := range runtimes {
		if name[:at] == r.prefix {
			return container{name[at+1:], r.name}, true
		}
	}
	return container{}, false
}

// sliceWithPrefix is system.slice:docker:<id>, which a runtime passes to systemd. One that was told to use systemd and does
// without makes a directory of that name.
func sliceWithPrefix(name, _ string) (container, bool) {
	parts := strings.Split(name, ":")
	if len(parts) != 3 {
		return container{}, false
	}
	for _, r := range runtimes {
		if parts[1] == r.prefix && isID(parts[2]) {
			return container{parts[2], r.name}, true
		}
	}
	return container{}, false
}

// bareID is /docker/<id>, and below the cgroup of a pod <id> alone. On ECS the ID ends in a number.
func bareID(name, parent string) (container, bool) {
	runtime := ""
	switch parent {
	case "docker":
		runtime = "docker"
	case "k8s.io": // the namespace of containerd that Kubernetes uses
		runtime = "containerd"
	case "libpod_parent":
		runtime = "podman"
	}
	if isID(name) {
		return container{name, runtime}, true
	}
	hash, number, is := strings.Cut(name, "-")
	_, err := strconv.ParseUint(number, 10, 64)
	return container{name, runtime}, is && err == nil && isHex(hash, 32) && isHex(parent, 32)
}

// lxc is lxc.payload.NAME, lxc.payload/NAME or lxc/NAME. lxc.monitor.NAME is outside the container.
func lxc(name, parent string) (container, bool) {
	id := name
	if parent != "lxc" && parent != "lxc.payload" {
		var is bool
		if id, is = strings.CutPrefix(name, "lxc.payload."); !is {
			return container{}, false
		}
	}
	return container{id, "lxc"}, isName(id)
}

// machine is the scope that systemd-machined registers: machine-NAME.scope, escaped. A virtual machine has one too, and is
// no container.
func machine(name, _ string) (container, bool) {
	escaped, is := strings.CutPrefix(name, "machine-")
	if !is {
		return container{}, false
	}
	if escaped, is = strings.CutSuffix(escaped, ".scope"); !is {
		return container{}, false
	}
	id := unescape(escaped)
	return container{id, machinedRuntime}, isName(id) && !strings.HasPrefix(id, "qemu-")
}

// nspawn is systemd-nspawn@NAME.service.
func nspawn(name, _ string) (container, bool) {
	escaped, is := strings.CutPrefix(name, "systemd-nspawn@")
	if !is {
		return container{}, false
	}
	if escaped, is = strings.CutSuffix(escaped, ".service"); !is {
		return container{}, false
	}
	id := unescape(escaped)
	return container{id, nspawnRuntime}, isName(id)
}

// unescape undoes what systemd does to a name that becomes part of a unit's: \x2d is "-".
func unescape(name string) string {
	if !strings.Contains(name, `\x`) {
		return name
	}
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		if strings.HasPrefix(name[i:], `\x`) && i+4 <= len(name) {
			if c, err := strconv.ParseUint(name[i+2:i+4], 16, 8); err == nil {
				out.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		out.WriteByte(name[i])
	}
	return out.String()
}
