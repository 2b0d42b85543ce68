package vm

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// inShort is what failed under the virtual machines' kernels, said once more after all tests.
var inShort digest

func TestMain(m *testing.M) {
	code := m.Run()
	inShort.print(os.Stdout)
	os.Exit(code)
}

func TestADigestTellsEachFailureInShort(t *testing.T) {
	var d digest
	for i := range digestFailures + 2 {
		d.add(fmt.Sprintf("6.1 loader: Test%d", i), strings.Repeat("  a line\n", digestLines+3))
	}
	d.failures[0].text = "=== RUN   Test0\n    x_test.go:1: 2 rows, want 3\n"
	var b strings.Builder
	d.print(&b)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if want := 2 + (digestFailures-1)*(digestLines+2) + 1; len(lines) != want {
		t.Errorf("%d lines, want %d:\n%s", len(lines), want, b.String())
	}
	for _, want := range []string{"FAILED: 6.1 loader: Test0\n", "    x_test.go:1: 2 rows, want 3\n", "    ... 3 more lines above\n",
		"and 2 more failures above\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, b.String())
		}
	}
}

func TestNothingThatFailedIsNoDigest(t *testing.T) {
	var d digest
	var b strings.Builder
	d.print(&b)
	if b.Len() > 0 {
		t.Errorf("it says %q", b.String())
	}
}

func TestOnlyTheInnermostFailureSaysWhy(t *testing.T) {
	failed := []string{"TestA/kprobe", "TestA", "TestAB"}
	for name, want := range map[string]bool{"TestA": false, "TestA/kprobe": true, "TestAB": true} {
		if got := innermost(name, failed); got != want {
			t.Errorf("innermost(%s) is %v, want %v", name, got, want)
		}
	}
}
