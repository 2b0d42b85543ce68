package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/checkreport"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/internal/report/sample"
)

// looks writes two made-up snapshots, one with peers, and a run into a directory.
func looks(t *testing.T) (directory string) {
	t.Helper()
	directory = t.TempDir()
	peers := sample.Live()
	peers.Machines[0].Look.By = []string{"peer"}
	for name, rec := range map[string]*recording.Recording{"before": sample.Live(), "after": sample.Later(), "peers": peers, "run": sample.New()} {
		f, err := os.Create(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		holds(t, rec.Write(f), f.Close())
	}
	return directory
}

func TestASnapshotIsShownAsAsked(t *testing.T) {
	t.Parallel()
	directory := looks(t)
	for _, c := range []struct {
		line string
		code int
		says []string // of stdout, or of the error
	}{
		{"report before --by state,role -n 1 --sort sockets", exitDone, []string{"By state and role", "others"}},
		{"report before --by container", exitDone, []string{"By container", "a91be4d7026c"}},
		{"diff before after --by state -n 1", exitDone, []string{"By state", "CLOSE_WAIT"}},
		{"diff before after --by comm --sort unread", exitDone, []string{"By comm"}},
		{"report before --by nothing", exitUsage, []string{`"nothing"`, "process, pid"}},
		{"report before --sort size", exitUsage, []string{`"size"`, "bytes"}},
		{"report before -n 0", exitUsage, []string{"--rows 0", "at least 1"}},
		{"report before --by peer", exitUsage, []string{"before", "no peers", "--by peer"}},
		{"report peers --by listener", exitUsage, []string{"peers", "without --by peer"}},
		{"report before --by peer,service", exitUsage, []string{"peer,service", "one of them"}},
		{"diff before peers", exitUsage, []string{"before", "no peers"}},
		{"report run --by state", exitUsage, []string{"--by", "for snapshots and records", "run is neither", "leave it out"}},
		{"report run -n 5", exitUsage, []string{"--rows", "run is neither"}},
		{"diff before run --sort bytes", exitUsage, []string{"--sort", "run is neither"}},
	} {
		cmd := command(t, strings.Fields(c.line)...)
		cmd.Dir = directory
		r := finish(t, cmd)
		if c.code == exitDone {
			says(t, c.line, r.exits(t, exitDone).stdout, c.says...)
			continue
		}
		r.refuses(t, c.code, c.says...)
	}
}

func TestCheckCountsMoreConnectionsLikeThoseOfASnapshot(t *testing.T) {
	t.Parallel()
	directory := looks(t)
	check := func(recording string, flags ...string) result {
		cmd := command(t, append([]string{"check", "--conns", "1000", "--recording", recording}, flags...)...)
		cmd.Dir = directory
		return finish(t, cmd)
	}
	page, queued, count := uint64(0), uint64(0), uint64(0)
	for _, row := range sample.Live().Rows() {
		if row.Role == kernel.RoleServer && row.State == "ESTABLISHED" {
			page, queued, count = page+row.PageBytes, queued+row.BufferBytes, count+uint64(row.Count)
		}
	}
	page, queued = (page+count-1)/count, (queued+count-1)/count
	doc := checked(t, check("before", "--as", "server", "--json").exits(t, exitDone))
	if got := doc.EndpointBytes; !doc.More || got.Client != 0 || got.Server != page || got.Queued != queued || queued == 0 {
		t.Errorf("%+v, want %d of slab and %d queued", got, page, queued)
	}
	if need, want := limitOf(t, doc, "memory").Need, (1000*(page+queued)*10+8)/9; need != want {
		t.Errorf("%d of memory for 1000, want %d", need, want)
	}
	onlyServer(t, doc)
	says(t, "the table", check("before", "--as", "server").exits(t, exitDone).stdout, "1,000 more connections as server", "queued on a connection",
		" more as server.")
	lone := lookOfServers(t, directory)
	check(lone, "--as", "both").refuses(t, exitFailed, lone, "no ESTABLISHED endpoint of role client", "--as")
	check(lone, "--as", "server").exits(t, exitDone)
}

// onlyServer: what connections cost at the other end is not known, and so is how many fit.
func onlyServer(t *testing.T, doc *checkreport.Document) {
	t.Helper()
	if len(doc.Capacity) != 1 || doc.Capacity[0].Role != kernel.RoleServer {
		t.Errorf("capacity of %+v", doc.Capacity)
	}
	for _, l := range doc.Limits {
		if _, server := l.Holds[kernel.RoleServer]; len(l.Holds) > 1 || len(l.Holds) == 1 && !server {
			t.Errorf("%s holds %v", l.Name, l.Holds)
		}
	}
}

// lookOfServers writes a snapshot without clients.
func lookOfServers(t *testing.T, directory string) (name string) {
	t.Helper()
	name = "servers"
	rec := sample.Live()
	var servers []recording.EndpointRow
	for _, row := range rec.Machines[0].Endpoints {
		if row.Role == kernel.RoleServer {
			servers = append(servers, row)
		}
	}
	rec.Machines[0].Endpoints = servers
	f, err := os.Create(filepath.Join(directory, name))
	if err != nil {
		t.Fatal(err)
	}
	holds(t, rec.Write(f), f.Close())
	return name
}
