package vm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/connprof/connprof/test/vm/wire"
)

func TestModulesAreLoadedAfterThoseTheyDependOn(t *testing.T) {
	depends := map[string][]string{"bridge": {"stp", "llc"}, "stp": {"llc"}, "llc": nil, "8021q": {"garp"}, "garp": {"stp", "llc"},
		"bonding": {"tls"}, "tls": nil}
	missing := errors.New("there is none")
	of := func(name string) ([]string, error) {
		list, ok := depends[name]
		if !ok {
			return nil, missing
		}
		return list, nil
	}
	got, err := ordered([]wire.Module{{Name: "8021q"}, {Name: "bridge"}, {Name: "bonding"}, {Name: "tls", Params: "x=1"}}, of)
	if want := []wire.Module{{Name: "tls", Params: "x=1"}, {Name: "llc"}, {Name: "stp"}, {Name: "garp"}, {Name: "8021q"},
		{Name: "bridge"}, {Name: "bonding"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("order is %v, %v, want %v", got, err, want)
	}
	depends["llc"] = []string{"bridge"}
	if _, err := ordered([]wire.Module{{Name: "bridge"}}, of); err == nil || !strings.Contains(err.Error(), "depends on itself") {
		t.Errorf("a circle: error is %v", err)
	}
	delete(depends, "llc")
	if _, err := ordered([]wire.Module{{Name: "bridge"}}, of); !errors.Is(err, missing) {
		t.Errorf("a module that is missing: error is %v", err)
	}
}

func TestWhatIsNoModuleIsNamed(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "veth.ko"), []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"veth": "read module " + folder, "bonding": "add it to the list in fetch-kernel.sh"} {
		if _, err := orderModules(folder, []wire.Module{{Name: name}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q in it", name, err, want)
		}
	}
}
