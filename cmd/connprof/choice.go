package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/internal/filter"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/live"
)

// choiceFlags choose sockets: any of one flag, and all of different ones.
type choiceFlags struct {
	pids       []int
	comms      []string
	cgroups    []string
	containers []string
	netns      []string
	ports      []uint
	states     []string
	filter     string
}

// add gives a command the flags.
func (f *choiceFlags) add(flags *pflag.FlagSet) {
	flags.IntSliceVarP(&f.pids, "pid", "p", nil, "only sockets of the process with this `PID` (repeatable, as all that choose)")
	flags.StringSliceVar(&f.comms, "comm", nil, "only those of processes of this `NAME`")
	flags.StringSliceVar(&f.cgroups, "cgroup", nil, "only those of this cgroup `PATH` and below")
	flags.StringSliceVar(&f.containers, "container", nil, "only those of the container with this `ID`, or whose ID begins so")
	flags.StringSliceVar(&f.netns, "netns", nil, "only those of the network namespace with this `INODE` or at this path")
	flags.UintSliceVar(&f.ports, "port", nil, "only those with this local or remote `PORT`")
	flags.StringSliceVar(&f.states, "state", nil, "only those in this `STATE`, such as CLOSE_WAIT")
	flags.StringVar(&f.filter, "filter", "", "only those for which the `EXPRESSION` is true; fields: "+strings.Join(filter.Names, " "))
}

// ofProcesses names a flag that was given and chooses processes, empty for none.
func (f *choiceFlags) ofProcesses() string {
	switch {
	case len(f.pids) > 0:
		return "pid"
	case len(f.comms) > 0:
		return "comm"
	case len(f.cgroups) > 0:
		return "cgroup"
	case len(f.containers) > 0:
		return "container"
	}
	return ""
}

// checkEmpty refuses a flag without a value, such as that of a shell variable which is not set: it would choose everything.
func checkEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(flag *pflag.Flag) {
		list, is := flag.Value.(pflag.SliceValue)
		if is && (len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")) || flag.Name == "filter" && flag.Value.String() == "" {
			err = fmt.Errorf("--%s has an empty value: name what is meant, or leave the flag out", flag.Name)
		}
	})
	return err
}

// compile checks what was given.
func (f *choiceFlags) compile() (c live.Choice, err error) {
	c.Plain = filter.Plain{PIDs: f.pids, Comms: f.comms, Cgroups: f.cgroups, Containers: f.containers}
	for _, pid := range f.pids {
		// Without it the answer would be that it holds nothing, whatever was meant.
		if err := unix.Kill(pid, 0); pid < 1 || errors.Is(err, unix.ESRCH) {
			return c, fmt.Errorf("--pid %d: there is no such process", pid)
		}
	}
	for _, text := range f.netns {
		inode, err := netnsInode(text)
		if err != nil {
			return c, err
		}
		c.Plain.Netns = append(c.Plain.Netns, inode)
	}
	for _, port := range f.ports {
		if port < 1 || port > 65535 {
			return c, fmt.Errorf("--port %d: want 1 to 65535", port)
		}
		c.Plain.Ports = append(c.Plain.Ports, uint16(port))
	}
	for _, text := range f.states {
		state, err := parseState(text)
		if err != nil {
			return c, err
		}
		c.Plain.States = append(c.Plain.States, state)
	}
	if f.filter != "" {
		if c.Filter, err = filter.Compile(f.filter); err != nil {
			return c, fmt.Errorf("--%w", err)
		}
	}
	return c, nil
}

// netnsInode is a network namespace's inode number, from the number itself or a path such as /run/netns/NAME or /proc/PID/ns/net.
func netnsInode(text string) (uint32, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil && n > 0 {
		return uint32(n), nil
	}
	var at unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Stat(text, &at), unix.Statfs(text, &fs)); err != nil {
		return 0, fmt.Errorf("--netns %q: want an inode number, or a path that is there, such as /run/netns/NAME", text)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return 0, fmt.Errorf("--netns %s: it is no namespace; want a path such as /run/netns/NAME or /proc/PID/ns/net", text)
	}
	return uint32(at.Ino), nil
}

// parseState knows the kernel's names, in capitals or not.
func parseState(text string) (kernel.State, error) {
	states := kernel.States()
	at := slices.IndexFunc(states, func(s kernel.State) bool { return strings.EqualFold(s.String(), text) })
	if at < 0 {
		names := make([]string, len(states))
		for i, s := range states {
			names[i] = s.String()
		}
		return 0, fmt.Errorf("--state %q: there is no such state; the states are %s", text, strings.Join(names, ", "))
	}
	return states[at], nil
}
