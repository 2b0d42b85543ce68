// Package owner tells whose a socket is: the processes that have it open, and what /proc says of them; the systemd unit, the
// container and the pod that the path of a cgroup names. It asks no container runtime.
//
// Open files come in from a walk (Join.Add), processes from /proc (Reader), paths of cgroups from the mounted hierarchy
// (CgroupPaths). What goes out is an account.Owners. Names are kept as they are, control characters and all: who shows them
// cleans them.
package owner
