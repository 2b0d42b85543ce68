package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// asUser is what a process needs to be one of the user's: all groups, and an environment that names the user.
func asUser(uid, gid int) (*syscall.Credential, []string, error) {
	c := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	environment := os.Environ()
	who, err := user.LookupId(strconv.Itoa(uid))
	if err != nil { // a number without a name has no groups beyond its own
		return c, environment, nil
	}
	groups, err := who.GroupIds()
	if err != nil {
		return nil, nil, fmt.Errorf("find the groups of user %s: %w", who.Username, err)
	}
	for _, group := range groups {
		number, err := strconv.ParseUint(group, 10, 32)
		if err != nil {
			return nil, nil, fmt.Errorf("group %q of user %s: %w", group, who.Username, err)
		}
		c.Groups = append(c.Groups, uint32(number))
	}
	for name, value := range map[string]string{"HOME": who.HomeDir, "USER": who.Username, "LOGNAME": who.Username} {
		environment = withVariable(environment, name, value)
	}
	return c, environment, nil
}

// withVariable sets a variable in an environment.
func withVariable(environment []string, name, value string) []string {
	out := environment[:0:0]
	for _, v := range environment {
		if !strings.HasPrefix(v, name+"=") {
			out = append(out, v)
		}
	}
	return append(out, name+"="+value)
}
