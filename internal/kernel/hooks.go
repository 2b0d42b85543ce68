package kernel

import "strings"

// HookName is a place in the kernel that connprof watches.
type HookName string

// The hooks.
const (
	HookConnect HookName = "connect"
	HookAccept  HookName = "accept"
	HookState   HookName = "state"
	HookDestroy HookName = "destroy"
	HookSlab    HookName = "slab"
	HookWalk    HookName = "walk"
	// What a look at a running host asks beside the walk.
	HookFiles  HookName = "files"  // the open files of all tasks
	HookTables HookName = "tables" // the protocol's hash tables, for all network namespaces at once
	HookPages  HookName = "pages"  // what each CPU keeps of the protocol's pages
)

// HookKind is a way to attach a hook.
type HookKind string

// The kinds. KindAuto is none of its own: it stands for the best that the kernel accepts.
const (
	KindAuto       HookKind = "auto"
	KindKprobe     HookKind = "kprobe"
	KindFentry     HookKind = "fentry"
	KindTracepoint HookKind = "tracepoint"
	KindIterator   HookKind = "iterator"
	KindSyscall    HookKind = "syscall"
)

// HookKinds are several.
type HookKinds []HookKind

func (k HookKinds) String() string {
	names := make([]string, len(k))
	for i, kind := range k {
		names[i] = string(kind)
	}
	return strings.Join(names, ", ")
}

// HookChoices are the kinds that a user may ask of the connect and accept hooks, KindAuto first.
var HookChoices = HookKinds{KindAuto, KindKprobe, KindFentry, KindTracepoint}
