package symbolise

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// waiting is a Go program with a deep stack.
func waiting(b *testing.B) (*Process, *Sample, Path) {
	b.Helper()
	pid := run(b, deep(b), "40")
	return unwound(b, pid, waitFor(b, pid, unix.SYS_READ, 0))
}

// chained is a C program without frame pointers.
func chained(b *testing.B) (*Process, *Sample, Path) {
	b.Helper()
	pid := run(b, compile(b, "gcc", "chain.c", "-pthread"))
	return unwound(b, pid, waitFor(b, pid, unix.SYS_READ, 0))
}

func BenchmarkUnwind(b *testing.B) {
	for name, made := range map[string]func(*testing.B) (*Process, *Sample, Path){"C": chained, "Go": waiting} {
		b.Run(name, func(b *testing.B) {
			p, s, path := made(b)
			b.ReportAllocs()
			for b.Loop() {
				if got := p.Unwind(s); len(got.Addresses) != len(path.Addresses) {
					b.Fatal(got.End)
				}
			}
			b.ReportMetric(float64(len(path.Addresses)), "frames")
		})
	}
}

func BenchmarkFrames(b *testing.B) {
	for name, made := range map[string]func(*testing.B) (*Process, *Sample, Path){"C": chained, "Go": waiting} {
		b.Run(name, func(b *testing.B) {
			p, _, path := made(b)
			b.ReportAllocs()
			for b.Loop() {
				p.Frames(path.Addresses)
			}
			b.ReportMetric(float64(len(path.Addresses)), "frames")
		})
	}
}

// What a process costs that was never seen, with all files.
func BenchmarkFirst(b *testing.B) {
	p, s, path := chained(b)
	for _, naming := range []bool{false, true} {
		b.Run(fmt.Sprintf("names=%v", naming), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				store := NewStore(Options{MaxDebugBytes: -1, DebugDirs: []string{}})
				fresh, err := store.Process(p.pid)
				if err != nil {
					b.Fatal(err)
				}
				if got := fresh.Unwind(s); len(got.Addresses) != len(path.Addresses) {
					b.Fatal(got.End)
				}
				if naming {
					fresh.Frames(path.Addresses)
				}
				store.Close()
			}
		})
	}
}

// The unwind table of libc and its names, read for the first time.
func BenchmarkLibc(b *testing.B) {
	const libc = "/lib/x86_64-linux-gnu/libc.so.6"
	content, err := os.ReadFile(libc)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		im, err := openImage(bytes.NewReader(content), uint64(len(content)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ehTable(im); err != nil {
			b.Fatal(err)
		}
		f := &file{store: NewStore(Options{}), im: im}
		if len(f.symbols().list) == 0 {
			b.Fatal("no symbols")
		}
	}
}
