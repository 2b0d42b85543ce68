package loader

import (
	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

// liveLadder is what a look at a running host needs beside the walk. None of it is attached to anything.
var liveLadder = []hookPoint{
	{name: kernel.HookFiles, spec: bpf.LoadFiles, rungs: []rung{
		{kind: kernel.KindIterator, function: "task_file", programs: []attachment{{program: bpf.FilesProgOpenFiles}}},
	}},
	{name: kernel.HookTables, spec: bpf.LoadTables, rungs: []rung{
		{kind: kernel.KindSyscall, function: "tcp_hashinfo of all network namespaces", suits: hasTablesPerNetns, programs: []attachment{
			{program: bpf.TablesProgListNamespaces}, {program: bpf.TablesProgWalkTable}}},
		{kind: kernel.KindIterator, function: "tcp in each network namespace", standIn: true},
	}},
	{name: kernel.HookPages, spec: bpf.LoadPages, rungs: []rung{
		{kind: kernel.KindSyscall, function: "tcp_memory_per_cpu_fw_alloc", suits: keepsPagesPerCPU, programs: []attachment{
			{program: bpf.PagesProgSumCpuPages}}},
		{kind: kernel.KindSyscall, function: "no page is kept by a CPU", suits: keepsNoPages, standIn: true},
	}},
}
