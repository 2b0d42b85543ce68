package loader

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/connprof/connprof/bpf"
	"github.com/connprof/connprof/internal/kernel"
)

const fileRecordBytes = int(unsafe.Sizeof(bpf.FilesFileRecord{}))

// OpenFiles visits the open files of all tasks that are TCP sockets, of whatever network namespace. Tasks that are not in
// connprof's PID namespace are left out by the kernel. The file is only valid during the call. An error of visit ends it.
// Without Config.Live it is a *NotLoadedError.
func (p *Probes) OpenFiles(visit func(*kernel.OpenFile) error) error {
	if p.files == nil {
		return &NotLoadedError{kernel.HookFiles}
	}
	iter, err := link.AttachIter(link.IterOptions{Program: p.files})
	if err != nil {
		return fmt.Errorf("attach iterator task_file: %w", err)
	}
	defer iter.Close()
	records, err := iter.Open()
	if err != nil {
		return fmt.Errorf("open iterator task_file: %w", err)
	}
	defer records.Close()
	var file kernel.OpenFile
	var endpoint kernel.Endpoint
	return readRecords(records, fileRecordBytes, p.config.AtOnce, func(record []byte) error {
		r := (*bpf.FilesFileRecord)(unsafe.Pointer(&record[0]))
		file = kernel.OpenFile{PID: r.Pid, TID: r.Tid, FD: r.Fd, File: r.File, Sock: r.Sk, Netns: r.Netns, Comm: text(r.Comm[:])}
		// Both files describe the same struct of connprof.h, for which bpf2go makes a type each.
		live := (*bpf.WalkLiveRecord)(unsafe.Pointer(&r.Live))
		if live.Endpoint.Flags&bpf.WalkEndpointFlagsWALK_UNHASHED != 0 {
			fillLive(&endpoint, live)
			file.Endpoint = &endpoint
		}
		return visit(&file)
	})
}

// text is a string as the kernel keeps it.
func text(chars []int8) string {
	bytes := make([]byte, len(chars))
	for i, c := range chars {
		bytes[i] = byte(c)
	}
	return unix.ByteSliceToString(bytes)
}
