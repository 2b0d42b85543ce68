package kernel

import "fmt"

// Role is which end of a connection an endpoint is.
type Role uint8

// The roles. The first three have the numbers of enum role in bpf/connprof.h. RoleUnknown stands for objects, tasks and
// endpoints of which nothing tells the role. RoleBoth is no endpoint's: it says of a load or a demand that both ends are on
// this host.
const (
	RoleUnknown Role = iota
	RoleClient
	RoleServer
	RoleListener
	RoleBoth
)

var roleNames = [...]string{RoleUnknown: "unknown", RoleClient: "client", RoleServer: "server", RoleListener: "listener",
	RoleBoth: "both"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return roleNames[RoleUnknown]
}

// ParseRole is the role of that name.
func ParseRole(name string) (Role, error) {
	for r, n := range roleNames {
		if n == name {
			return Role(r), nil
		}
	}
	return RoleUnknown, fmt.Errorf("there is no role %.40q", name)
}

// MarshalText writes a role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a role's name. Recordings of schema 1 call an unknown role "other".
func (r *Role) UnmarshalText(text []byte) (err error) {
	name := string(text)
	if name == "other" {
		name = roleNames[RoleUnknown]
	}
	*r, err = ParseRole(name)
	return err
}
