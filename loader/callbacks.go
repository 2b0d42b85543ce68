package loader

import (
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// hasLoop tells whether the kernel has bpf_loop(): e6f2dd0f8067 (5.17).
func hasLoop(spec *btf.Spec) bool {
	var helpers *btf.Enum
	if err := spec.TypeByName("bpf_func_id", &helpers); err != nil {
		return false
	}
	for _, v := range helpers.Values {
		if v.Name == "BPF_FUNC_loop" {
			return true
		}
	}
	return false
}

// withoutCallbacks takes the functions that bpf_loop() would call out of a program. Kernels before 5.13 refuse pointers to
// functions even in code that they never reach (69c087ba6225).
func withoutCallbacks(program asm.Instructions) (left asm.Instructions) {
	callbacks := map[string]bool{}
	for _, ins := range program {
		if ins.IsLoadOfFunctionPointer() {
			callbacks[ins.Reference()] = true
		}
	}
	dropped := false
	for _, ins := range program {
		if name := ins.Symbol(); name != "" {
			dropped = callbacks[name]
		}
		if dropped {
			continue
		}
		if ins.IsLoadOfFunctionPointer() {
			nothing := asm.LoadImm(ins.Dst, 0, asm.DWord)
			nothing.Metadata = ins.Metadata
			ins = nothing.WithReference("")
		}
		left = append(left, ins)
	}
	return left
}
