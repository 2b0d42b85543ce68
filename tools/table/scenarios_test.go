package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

func scenario(release, name string, ratio float64, rows ...recording.EndpointRow) *recording.Machine {
	return &recording.Machine{Host: recording.Host{Kernel: release, CPUs: 2, MemoryBytes: 2 << 30},
		Load: &recording.Load{Scenario: name, Established: 2000}, Endpoints: rows,
		Reconcile: &recording.Reconcile{UnexplainedRatio: ratio}}
}

func row(role kernel.Role, state string, object, page, buffer uint64) recording.EndpointRow {
	return recording.EndpointRow{Role: role, State: state, Count: 2, ObjectBytes: object, PageBytes: page, BufferBytes: buffer}
}

func listener() recording.EndpointRow { return row(kernel.RoleListener, "LISTEN", 2, 2, 0) }

func TestScenariosOfAllKernelsMakeOneTable(t *testing.T) {
	var out strings.Builder
	err := writeScenarios(&out, []*recording.Machine{
		scenario("6.12.1-cloud", "time-wait", 0.25, row(kernel.RoleClient, "TIME_WAIT", 512, 520, 0), listener()),
		scenario("6.12.1-cloud", "idle", 0.001, row(kernel.RoleClient, "ESTABLISHED", 8001, 9001, 0),
			row(kernel.RoleServer, "ESTABLISHED", 8000, 8999, 20), listener()),
		scenario("6.1.0", "idle", 0, row(kernel.RoleClient, "ESTABLISHED", 6000, 7000, 0), listener()),
		scenario("6.1.0", "listen", 0, listener()),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `| kernel | release | CPUs | memory | connections |
| --- | --- | ---: | ---: | ---: |
| 6.1 | 6.1.0 | 2 | 2048 MiB | 2,000 |
| 6.12 | 6.12.1-cloud | 2 | 2048 MiB | 2,000 |

Page bytes an endpoint:

| scenario | role | state | 3.10, published | 6.1 | 6.12 |
| --- | --- | --- | ---: | ---: | ---: |
| idle | client | ESTABLISHED | 3,420 | 3,500 | 4,501 |
|  | server | ESTABLISHED | 3,123 | – | 4,500 |
|  | *unexplained* |  |  | *0.00 %* | *0.10 %* |
| time-wait | client | TIME_WAIT | 346–420 | – | 260 |
|  | *unexplained* |  |  | – | *25.00 %* |
| listen | listener | LISTEN |  | 1 | – |
|  | *unexplained* |  |  | *0.00 %* | – |

Object bytes an endpoint:

| scenario | role | state | 6.1 | 6.12 |
| --- | --- | --- | ---: | ---: |
| idle | client | ESTABLISHED | 3,000 | 4,001 |
|  | server | ESTABLISHED | – | 4,000 |
| time-wait | client | TIME_WAIT | – | 256 |
| listen | listener | LISTEN | 1 | – |

Buffer bytes an endpoint, where there are any:

| scenario | role | state | 6.1 | 6.12 |
| --- | --- | --- | ---: | ---: |
| idle | server | ESTABLISHED | – | 10 |
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestKernelsAreOrderedByNumber(t *testing.T) {
	for _, c := range [][2]string{{"5.10.0", "6.1.0"}, {"6.1.0", "6.12.0"}, {"6.12.117+deb12", "6.18.44"}, {"6.18.44", "7.2.13"}} {
		if compareReleases(c[0], c[1]) >= 0 || compareReleases(c[1], c[0]) <= 0 {
			t.Errorf("%s does not come before %s", c[0], c[1])
		}
	}
}

func TestTheSameScenarioTwiceOnAKernelIsAnError(t *testing.T) {
	twice := []*recording.Machine{scenario("6.1.0", "idle", 0, listener()), scenario("6.1.0", "idle", 0, listener())}
	err := writeScenarios(&strings.Builder{}, twice)
	if err == nil || !strings.Contains(err.Error(), "two recordings of scenario idle on kernel 6.1.0") {
		t.Errorf("error is %v", err)
	}
}

func TestOnlyTheBlockOfAPageIsWritten(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	for _, old := range []string{"", "| an old table |\n"} {
		if err := os.WriteFile(page, []byte("before\n"+blockBegin+"\n"+old+blockEnd+"\nafter\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := scenarioPage(page, []*recording.Machine{scenario("6.1.0", "listen", 0, listener())}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		begins := strings.HasPrefix(string(text), "before\n"+blockBegin+"\n| kernel |")
		if ends := strings.HasSuffix(string(text), "|\n"+blockEnd+"\nafter\n"); !begins || !ends || strings.Contains(string(text), "old") {
			t.Errorf("the page is\n%s", text)
		}
	}
}

func TestAPageWithoutMarkersIsLeftAlone(t *testing.T) {
	for _, page := range []string{"", "no marker\n", blockBegin + "\nno end\n", blockEnd + "\n" + blockBegin + "\n"} {
		if _, err := replaceBlock(page, "table\n"); err == nil || !strings.Contains(err.Error(), blockBegin) {
			t.Errorf("%q: error is %v, want the marker in it", page, err)
		}
	}
}

func TestLargeNumbersHaveCommas(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}
