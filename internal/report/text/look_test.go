package text

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report"
	"github.com/connprof/connprof/internal/report/sample"
)

var update = flag.Bool("update", false, "write the texts below testdata anew")

// golden holds a text against the one that is kept.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v; go test ./internal/report/text -update writes it anew:\n%s", name, err, got)
	}
}

func TestASnapshotAt80And120Columns(t *testing.T) {
	for _, width := range []int{80, 120} {
		golden(t, fmt.Sprintf("live-%d", width), textOf(t, sample.Live(), Format{Width: width}))
	}
}

// crowded is the snapshot with names, numbers and lists as long as anyone can make them.
func crowded() *recording.Recording {
	r := sample.Live()
	m := r.Machines[0]
	long := strings.Repeat("very-long-name/", 40)
	for i := range m.Groups {
		g := &m.Groups[i]
		g.Cgroup, g.Unit, g.Container, g.Listener = "/"+long, long, "", "[fe80:1234:5678:9abc:def0:1234:5678:9abc]:65535"
		g.Count, g.PageBytes, g.BufferBytes = 100_000+i, 9<<30, 9<<30
		g.RxBytes, g.TxBytes, g.UnreadBytes, g.UnreadSockets = 1023<<30, 1023<<30, 1023<<30, 1_000_000
		if i%2 == 0 {
			g.Comm = fmt.Sprintf("a-comm-of-15-%02d", i)
		}
	}
	for i := range m.Endpoints {
		for k := range m.Endpoints[i].Objects {
			o := &m.Endpoints[i].Objects[k]
			o.Type, o.Cache, o.Count = long+o.Type, long+o.Cache, 2_000_000
		}
	}
	m.Look.Filter = []string{long}
	return r
}

func TestASnapshotKeepsToItsWidth(t *testing.T) {
	for name, r := range map[string]*recording.Recording{"live": sample.Live(), "crowded": crowded()} {
		for _, width := range []int{0, 40, 80, 120} {
			most := max(width, 80)
			if width == 0 {
				most = 100
			}
			for _, by := range report.OwnerKeys() {
				shown, err := report.NewWith(r, report.Options{By: []string{by, "state"}[:1+len(by)%2]})
				if by == "state" {
					shown, err = report.NewWith(r, report.Options{By: []string{by}})
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range strings.Split(rendered(t, Format{Width: width}, shown), "\n") {
					if n := utf8.RuneCountInString(line); n > most {
						t.Errorf("%s by %s: %d of %d columns: %s", name, by, n, most, line)
					}
				}
			}
		}
	}
}

func TestASnapshotIsBounded(t *testing.T) {
	r := crowded()
	m := r.Machines[0]
	for i := range 2000 {
		g := m.Groups[i%len(m.Groups)]
		g.Comm, g.UID, g.State = fmt.Sprint("c", i), uint32(i), "CLOSE_WAIT"
		m.Groups = append(m.Groups, g)
	}
	text := textOf(t, r, Format{Width: 80})
	if n := strings.Count(text, "\n"); n > 200 {
		t.Errorf("%d lines", n)
	}
	sample.Has(t, text, "others")
}

// What nobody has to look at is not there.
func TestNothingIsSaidWhereNothingStandsOut(t *testing.T) {
	r := sample.Live()
	m := r.Machines[0]
	m.Look.Listeners = nil
	for i := range m.Groups {
		m.Groups[i].UnreadBytes, m.Groups[i].UnackedBytes = 0, 0
		if m.Groups[i].State == "CLOSE_WAIT" {
			m.Groups[i].State = "ESTABLISHED"
		}
	}
	m.Groups = m.Groups[:10]
	for i := range m.Groups {
		m.Groups[i].Count = 9
	}
	text := textOf(t, r, Format{})
	sample.Has(t, text, "nothing lost · nothing stands out")
	if strings.Contains(text, "What stands out") {
		t.Errorf("a section without content:\n%s", text)
	}
}

// The figures of the table are those of the groups.
func TestTheOwnersFiguresAreTheGroups(t *testing.T) {
	r := sample.Live()
	var slab, send uint64
	n := 0
	for _, g := range r.Machines[0].Groups {
		if g.Comm == "nginx" {
			slab, send, n = slab+g.PageBytes, send+g.TxBytes, n+g.Count
		}
	}
	sample.Has(t, textOf(t, r, Format{}), fmt.Sprintf("nginx x5 %s %s – %s –", format.Count(n), format.Compact(float64(slab)),
		format.Compact(float64(send))))
}

func TestAnUncalibratedOrFilteredLookSaysSo(t *testing.T) {
	r := sample.Live()
	l := r.Machines[0].Look
	l.Calibration, l.Filter = recording.Uncalibrated, []string{"--comm nginx"}
	r.Machines[0].Losses.WalkSkipped = 2
	sample.Has(t, textOf(t, r, Format{}), "calibration none: slabobj_ext vectors and LSM blobs are left out", "only --comm nginx",
		"2 events lost", "lost: walk 2 endpoints met but not followed")
}

func TestTheGrowthBetweenTwoSnapshots(t *testing.T) {
	golden(t, "growth", diffOf(t, sample.Live(), sample.Later()))
}

func TestASnapshotHasNotGrownFromItself(t *testing.T) {
	sample.Has(t, diffOf(t, sample.Live(), sample.Live()), "as many sockets and bytes as before", "By process 12 unchanged unchanged",
		"By object unchanged")
}

func TestARunAndASnapshotAreComparedByEndpoint(t *testing.T) {
	for _, pair := range [][2]*recording.Recording{{sample.New(), sample.Live()}, {sample.Live(), sample.New()}} {
		text := diffOf(t, pair[0], pair[1])
		sample.Has(t, text, "Client endpoints ESTABLISHED", "one recording is of a run and the other of a host as it was")
		if strings.Contains(text, "By process") {
			t.Errorf("a run has owners:\n%s", text)
		}
	}
}

func TestSnapshotsOfDifferentSocketsOrHostsAreNotComparedInSilence(t *testing.T) {
	other := sample.Later()
	other.Machines[0].Look.Filter, other.Machines[0].Host.Boot = []string{"--port 443"}, "another"
	sample.Has(t, diffOf(t, sample.Live(), other), "their filters differ", "of different hosts, or of one that was started anew")
}
