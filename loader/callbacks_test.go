package loader

import (
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/connprof/connprof/bpf"
)

func TestAProgramWithoutCallbacksPointsToNoFunctionAndHasAllOthers(t *testing.T) {
	spec, err := bpf.LoadWalk()
	if err != nil {
		t.Fatal(err)
	}
	before := spec.Programs[bpf.WalkProgWalkTcp].Instructions
	after := withoutCallbacks(before)
	functions := func(program asm.Instructions) (pointers int, names map[string]bool) {
		names = map[string]bool{}
		for _, ins := range program {
			if ins.IsLoadOfFunctionPointer() {
				pointers++
			}
			if ins.Symbol() != "" {
				names[ins.Symbol()] = true
			}
		}
		return pointers, names
	}
	pointersBefore, had := functions(before)
	pointersAfter, has := functions(after)
	if pointersBefore == 0 || pointersAfter != 0 {
		t.Errorf("%d pointers to functions of %d are left", pointersAfter, pointersBefore)
	}
	for _, name := range []string{bpf.WalkProgWalkTcp, "count_list", "count_tree", "count_skb", "count_epoll"} {
		if !had[name] || !has[name] {
			t.Errorf("function %s is there before %v and afterwards %v", name, had[name], has[name])
		}
	}
	for _, name := range []string{"one_of_list", "one_of_tree"} {
		if !had[name] || has[name] {
			t.Errorf("callback %s is there before %v and afterwards %v", name, had[name], has[name])
		}
	}
}
