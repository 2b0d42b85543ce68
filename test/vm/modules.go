package vm

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/connprof/connprof/test/vm/wire"
)

// orderModules gives out the wanted modules and all they depend on, each after those it depends on. The folder has them
// as NAME.ko, not compressed. What each depends on is told by the module itself: modules.dep is made on the machine where
// a kernel is installed, and no package has it.
func orderModules(folder string, wanted []wire.Module) ([]wire.Module, error) {
	return ordered(wanted, func(name string) ([]string, error) {
		depends, err := moduleDepends(filepath.Join(folder, name+".ko"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no module %s in %s: add it to the list in fetch-kernel.sh", name, folder)
		}
		return depends, err
	})
}

func ordered(wanted []wire.Module, dependsOf func(name string) ([]string, error)) ([]wire.Module, error) {
	var order []wire.Module
	var add func(m wire.Module, above []string) error
	add = func(m wire.Module, above []string) error {
		if slices.ContainsFunc(order, func(o wire.Module) bool { return o.Name == m.Name }) {
			return nil
		}
		if slices.Contains(above, m.Name) {
			return fmt.Errorf("module %s depends on itself by way of %s", m.Name, strings.Join(above, ", "))
		}
		depends, err := dependsOf(m.Name)
		if err != nil {
			return err
		}
		for _, name := range depends {
			if err := add(wire.Module{Name: name}, append(above, m.Name)); err != nil {
				return err
			}
		}
		order = append(order, m)
		return nil
	}
	// Those with parameters first, so that none is loaded without them as what another one needs.
	for _, m := range slices.SortedStableFunc(slices.Values(wanted), withParamsFirst) {
		if err := add(m, nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func withParamsFirst(a, b wire.Module) int {
	return cmp.Compare(min(len(b.Params), 1), min(len(a.Params), 1))
}

// moduleDepends reads the names of the modules that one needs from its section .modinfo, a row of KEY=VALUE strings.
func moduleDepends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: no section .modinfo: it is no kernel module, fetch it again", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	for _, field := range bytes.Split(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(field), "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
