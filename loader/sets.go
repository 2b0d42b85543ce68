package loader

import (
	"fmt"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
)

// HookSet is a choice of hooks. What a hook is needed for and the set leaves out answers with a *NotLoadedError.
type HookSet uint8

// The sets.
const (
	// Full has every hook.
	Full HookSet = iota
	// Life has what tells when an endpoint comes, changes and goes, and the walk: all but the slab hook.
	Life
	// WalkOnly has the walk's one program. It attaches nothing: a walk costs the kernel nothing while no one asks for it.
	WalkOnly
)

var hookSets = [...][]kernel.HookName{
	Full: {kernel.HookConnect, kernel.HookAccept, kernel.HookState, kernel.HookDestroy, kernel.HookSlab,
		kernel.HookWalk},
	Life:     {kernel.HookConnect, kernel.HookAccept, kernel.HookState, kernel.HookDestroy, kernel.HookWalk},
	WalkOnly: {kernel.HookWalk},
}

func (s HookSet) has(name kernel.HookName) bool { return slices.Contains(hookSets[s], name) }

// NotLoadedError says that something was asked of a hook that the set of Config.Hooks does not have, or that takes Config.Live.
type NotLoadedError struct {
	Hook kernel.HookName
}

func (e *NotLoadedError) Error() string {
	return fmt.Sprintf("the %s hook is not loaded: the configuration does not ask for it", e.Hook)
}
