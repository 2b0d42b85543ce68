// Package bpf holds the programs that run in the kernel, as C and as compiled objects, and the Go types of what
// they share with user space. It imports nothing of the project; loader is the only package that uses it.
//
// Each .bpf.c file has one concern and becomes one object; connprof.h is the border to user space, kernel.h the
// kernel's structures, compat.h the differences between kernel versions. `make generate` rebuilds everything
// that bpf2go writes; the results are committed, so that building connprof needs no clang.
package bpf

// The flags of the compiler stand in the Makefile (BPF2GO_CFLAGS, BPF2GO_CC, BPF2GO_STRIP).
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types Connect connect.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types Accept accept.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types -type endpoint_event -type cpu_counters -type event_kind -type role -type port_side -type scope_kind State state.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types -type stack_event -type site -type site_kind -type site_table Slab slab.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types -type endpoint_record -type live_record -type cache_info -type object_type -type binding -type endpoint_flags Walk walk.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types -type file_record Files files.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types -type netns_record Tables tables.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types Pages pages.bpf.c
//go:generate go tool -modfile=../tools/tools.mod bpf2go -tags linux -target amd64,arm64 -no-global-types -type opener -type open_socket -type service_key -type service -type listener_key -type listener -type stack_copy -type stack_key -type learned_stack -type open_counters -type opener_bits -type open_error Opens opens.bpf.c
