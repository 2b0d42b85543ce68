// Package privilege tells which capabilities this process has, and names those that it lacks. It imports nothing of the
// project.
package privilege

import (
	"fmt"
	"strings"

	"github.com/moby/sys/capability"
)

// Need is a capability and what it is needed for.
type Need struct {
	Cap     capability.Cap
	Within  []capability.Cap // others that include it
	Purpose string
}

// Name is the capability as in include/uapi/linux/capability.h.
func (n Need) Name() string { return "CAP_" + strings.ToUpper(n.Cap.String()) }

// Set is a set of capabilities.
type Set func(capability.Cap) bool

// Effective are the capabilities of this process.
func Effective() (Set, error) {
	own, err := capability.NewPid2(0)
	if err == nil {
		err = own.Load()
	}
	if err != nil {
		return nil, fmt.Errorf("read this process's capabilities: %w (is /proc mounted?)", err)
	}
	return func(c capability.Cap) bool { return own.Get(capability.EFFECTIVE, c) }, nil
}

// Meets tells whether the set has what is needed.
func (s Set) Meets(n Need) bool {
	for _, c := range append([]capability.Cap{n.Cap}, n.Within...) {
		if s(c) {
			return true
		}
	}
	return false
}

// Lacking names what this process does not have of what is needed, each with its purpose.
func Lacking(needs ...Need) ([]string, error) {
	own, err := Effective()
	if err != nil {
		return nil, err
	}
	return own.Lacking(needs...), nil
}

// Lacking names what the set does not have of what is needed, each with its purpose.
func (s Set) Lacking(needs ...Need) (names []string) {
	for _, n := range needs {
		if !s.Meets(n) {
			names = append(names, n.Name()+" ("+n.Purpose+")")
		}
	}
	return names
}
