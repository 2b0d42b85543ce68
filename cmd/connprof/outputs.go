package main

import (
	"fmt"
	"io"
	"os"
)

// outputs are those of one command, by the flag that names them. Two never are the same file.
type outputs struct {
	list []*output
	by   map[string]*output
}

// named is a name that a flag was given.
type named struct{ flag, name string }

// openOutputs opens those that have a name. What a command reads is not to be written over either.
func openOutputs(names []named, inputs ...string) (*outputs, error) {
	all := &outputs{by: map[string]*output{}}
	taken := map[string]string{}
	for _, path := range inputs {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			taken[keyOf(info)] = path
		}
	}
	for _, n := range names {
		if n.name == "" {
			continue
		}
		o, err := openOutput(n.flag, n.name)
		if err != nil {
			all.close()
			return nil, err
		}
		all.list, all.by[n.flag] = append(all.list, o), o
		if other, found := taken[o.key]; found && o.key != "" {
			all.close()
			return nil, usageError{fmt.Errorf("%s %s is the same file as %s; give each a name of its own", n.flag, n.name, other)}
		}
		taken[o.key] = n.flag + " " + n.name
	}
	return all, nil
}

// close closes the streams.
func (all *outputs) close() {
	for _, o := range all.list {
		o.close()
	}
}

// useStdout is whether any of them goes to standard output.
func (all *outputs) useStdout() bool {
	for _, o := range all.list {
		if o.toStdout() {
			return true
		}
	}
	return false
}

// writeFile writes to one place that no flag of several names.
func writeFile(name string, write func(io.Writer) error) error {
	o, err := openOutput("", name)
	if err != nil {
		return err
	}
	defer o.close()
	return o.write(write)
}
