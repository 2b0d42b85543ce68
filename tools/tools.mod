// The programs that connprof is built and checked with, and their versions. They are not part of connprof, so that its
// go.mod does not carry what they need. From the top directory:
//
//	go tool -modfile=tools/tools.mod NAME
//	go get -modfile=tools/tools.mod -tool PACKAGE@VERSION
//
// Do not go mod tidy it: that would add what connprof itself imports. bpf2go has the version that go.mod has of
// github.com/cilium/ebpf, which reads what it writes.
module github.com/connprof/connprof/tools

go 1.26.0

tool github.com/cilium/ebpf/cmd/bpf2go

require (
	github.com/cilium/ebpf v0.22.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
