package owner

import (
	"strings"
)

// Place is what the path of a cgroup tells of where a process runs. What the path does not tell is empty.
type Place struct {
	// Unit is the innermost systemd unit that is no slice, by the name that systemctl knows it by. The scope of a container
	// is one.
	Unit string
	// Container is the ID, or the name where the runtime has names only, of the innermost container.
	Container string
	Runtime   string // of the container, empty where the path has an ID alone
	Pod       string // UID of the innermost Kubernetes pod, with dashes
}

// ParseCgroup reads the path of a cgroup as runtimes and systemd write it. It knows the names that they choose, and no
// more: whoever may make cgroups can give one such a name.
func ParseCgroup(path string) Place {
	p, around := Place{}, Place{}
	names := segments(path)
	for i, name := range names {
		parent := ""
		if i > 0 {
			parent = names[i-1]
		}
		if unit, is := unitName(name); is {
			p.Unit = unit
		}
		if pod, is := podUID(name); is {
			p.Pod = pod
		}
		if c, is := containerOf(name, parent); is {
			around = p
			p.Container, p.Runtime = c.id, c.runtime
		} else if name == "supervisor" && (p.Runtime == nspawnRuntime || p.Runtime == machinedRuntime) {
			p.Container, p.Runtime = around.Container, around.Runtime // systemd-nspawn itself
		}
	}
	return p
}

// segments are the names in a path. Above the root of a cgroup namespace the kernel writes "..", and behind the path of a
// cgroup that has been removed " (deleted)".
func segments(path string) []string {
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(path, " (deleted)"), "/") {
		switch name {
		case "", ".":
		case "..":
			names = names[:max(len(names)-1, 0)]
		default:
			names = append(names, name)
		}
	}
	return names
}

// telling ranks places: a container, then a pod, then a unit.
func (p Place) telling() int {
	rank := 0
	if p.Container != "" {
		rank += 4
	}
	if p.Pod != "" {
		rank += 2
	}
	if p.Unit != "" {
		rank++
	}
	return rank
}

// unitTypes are the types of units that can have processes. A slice has none of its own.
var unitTypes = []string{".service", ".scope", ".socket", ".mount", ".swap"}

// unitName is the name of the unit that has a cgroup. Where a unit's name could be taken for a file of a cgroup's
// directory, systemd puts "_" in front (cg_escape).
func unitName(name string) (string, bool) {
	name = strings.TrimPrefix(name, "_")
	for _, ending := range unitTypes {
		if before, is := strings.CutSuffix(name, ending); is {
			return name, before != "" && isName(before)
		}
	}
	return "", false
}

// isName tells whether a name has only the characters that systemd allows in those of units, and at most as many. Names of
// containers have no others.
func isName(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	for _, c := range []byte(name) {
		if !isAlphanumeric(c) && !strings.ContainsRune(`:-_.\@`, rune(c)) {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isHex(s string, length int) bool {
	if len(s) != length {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// podUID is the UID in the name of a pod's cgroup: pod<uid>, or kubepods-burstable-pod<uid>.slice with "_" for "-". That of
// a static pod is the hash of its manifest, without dashes.
func podUID(name string) (string, bool) {
	// runc and crun write slice:prefix:name where they were told to use systemd and could not.
	name, _, _ = strings.Cut(name, ":")
	uid := name
	if slice, is := strings.CutSuffix(name, ".slice"); is {
		at := strings.LastIndex(slice, "-pod")
		if at < 0 || !strings.Contains(slice[:at], "kubepods") {
			return "", false
		}
		uid = strings.ReplaceAll(slice[at+1:], "_", "-")
	}
	uid, is := strings.CutPrefix(uid, "pod")
	return uid, is && (isHex(uid, 32) || isUUID(uid))
}

func isUUID(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, length := range []int{8, 4, 4, 4, 12} {
		if !isHex(parts[i], length) {
			return false
		}
	}
	return true
}
