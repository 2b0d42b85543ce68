package kernel

import (
	"fmt"
	"strings"
	"testing"
)

// testKallsyms is out of order, as the modules' part of /proc/kallsyms is.
const testKallsyms = `ffffffff81300000 t sk_prot_alloc
ffffffff81100000 T inet_csk_accept
ffffffff81200000 t ep_insert.isra.0
ffffffff81250000 D tcp_hashinfo
ffffffff81260000 r not_a_function
ffffffff81400000 W weak_function
ffffffff81500000 w weaker_function
ffffffffc0200000 t nf_conntrack_in	[nf_conntrack]
ffffffffc0100000 t bpf_prog_6deef7357e7b4530_on_alloc	[bpf]
a line that is none
zzzz t not_hexadecimal
0000000000000000 T hidden
`

func testSymbols(t *testing.T) *Symbols {
	t.Helper()
	s, err := ParseSymbols(strings.NewReader(testKallsyms))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnAddressLiesInTheFunctionBeforeIt(t *testing.T) {
	s := testSymbols(t)
	tests := []struct {
		name    string
		address uint64
		want    string
	}{
		{"below the first function", 0xffffffff810fffff, "0xffffffff810fffff"},
		{"zero", 0, "0x0"},
		{"the first byte", 0xffffffff81100000, "inet_csk_accept"},
		{"inside", 0xffffffff81100042, "inet_csk_accept"},
		{"the last byte", 0xffffffff811fffff, "inet_csk_accept"},
		{"a clone under its plain name", 0xffffffff81200010, "ep_insert"},
		{"data is no function", 0xffffffff81260010, "ep_insert"},
		{"local", 0xffffffff81300010, "sk_prot_alloc"},
		{"weak", 0xffffffff81400010, "weak_function"},
		{"weak and local", 0xffffffff81500010, "weaker_function"},
		{"a BPF program", 0xffffffffc0100010, "bpf_prog_6deef7357e7b4530_on_alloc"},
		{"a module, without its name", 0xffffffffc0200010, "nf_conntrack_in"},
	}
	for _, test := range tests {
		if got := s.Function(test.address); got != test.want {
			t.Errorf("%s: %#x is in %q, want %q", test.name, test.address, got, test.want)
		}
	}
}

func TestBaseNameDropsTheCompilersSuffixes(t *testing.T) {
	tests := map[string]string{
		"tcp_v4_connect":              "tcp_v4_connect",
		"sk_prot_alloc.isra.0":        "sk_prot_alloc",
		"inet_csk_accept.constprop.0": "inet_csk_accept",
		"do_softirq.part.0":           "do_softirq",
		"ep_insert.cold":              "ep_insert",
		"__d_alloc.llvm.123":          "__d_alloc",
		"f.constprop.0.isra.0.cold":   "f",
		".text_start":                 ".text_start", // nothing would be left
		"":                            "",
	}
	for name, want := range tests {
		if got := BaseName(name); got != want {
			t.Errorf("BaseName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestACoveredKallsymsIsNotTakenForHiddenAddresses(t *testing.T) {
	_, err := ParseSymbols(strings.NewReader("")) // /dev/null, as a container runtime mounts it over masked paths
	if err == nil || !strings.Contains(err.Error(), "mounted over it") || strings.Contains(err.Error(), "kptr_restrict") {
		t.Errorf("%v", err)
	}
}

func TestHiddenAddressesAreAnErrorThatNamesTheSysctl(t *testing.T) {
	tests := map[string]string{
		"all zero":  "0000000000000000 T tcp_v4_connect\n0000000000000000 t sk_prot_alloc\n",
		"only data": "ffffffff81250000 D tcp_hashinfo\n",
	}
	for name, text := range tests {
		_, err := ParseSymbols(strings.NewReader(text))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), "kernel.kptr_restrict") || !strings.Contains(err.Error(), "CAP_SYSLOG") {
			t.Errorf("%s: %q does not name the sysctl and the capability", name, err)
		}
	}
}

func TestRunningKernelsSymbolsFindTCP(t *testing.T) {
	s, err := ReadSymbols()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{"tcp_v4_connect": false, "inet_csk_accept": false}
	for i, f := range s.functions {
		name := s.name(i)
		if i > 0 && f.address < s.functions[i-1].address {
			t.Fatalf("%s at %#x sorted behind %#x", name, f.address, s.functions[i-1].address)
		}
		if _, ok := found[name]; ok {
			found[name] = s.Function(f.address+4) == name
		}
	}
	for name, ok := range found {
		if !ok {
			t.Errorf("the address of %s does not lead back to it", name)
		}
	}
}

// BenchmarkParseSymbols reads a table as long as that of a distribution's kernel.
func BenchmarkParseSymbols(b *testing.B) {
	const symbols = 120_000
	var text strings.Builder
	for i := range symbols {
		fmt.Fprintf(&text, "%016x t some_kernel_function_%d\n", 0xffffffff81000000+uint64(i)*64, i)
	}
	for b.Loop() {
		if _, err := ParseSymbols(strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/symbols, "ns/symbol")
}
