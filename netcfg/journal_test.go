package netcfg

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func someEntry(aliases ...Alias) entry {
	return entry{Boot: "b", Namespace: 1, Device: "eth0", Index: 2, MAC: macA.String(), Added: time.Unix(1, 0).UTC(), Aliases: aliases}
}

var (
	someAlias  = Alias{netip.MustParsePrefix("10.0.0.1/24"), "eth0:cp0"}
	someAlias6 = Alias{Address: netip.MustParsePrefix("2001:db8::1/64")}
)

// opened opens a journal in a directory of the test's.
func opened(t *testing.T, path string) *openedJournal {
	t.Helper()
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// someJournal is a file as connprof wrote it from the first version on.
const someJournal = `{
  "schema": "connprof.aliases/1",
  "note": "alias addresses that connprof netup added; connprof netdown removes them and this file",
  "entries": [
    {
      "boot": "b",
      "network_namespace": 1,
      "device": "eth0",
      "index": 2,
      "mac": "02:00:00:00:00:0a",
      "added": "1970-01-01T00:00:01Z",
      "aliases": [
        {
          "address": "10.0.0.1/24",
          "label": "eth0:cp0"
        }
      ]
    },
    {
      "boot": "b",
      "network_namespace": 1,
      "device": "eth0",
      "index": 2,
      "mac": "02:00:00:00:00:0a",
      "added": "1970-01-01T00:00:01Z",
      "aliases": [
        {
          "address": "2001:db8::1/64"
        }
      ]
    }
  ]
}
`

func TestTheFormOfTheJournalStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j.json")
	j := opened(t, path)
	j.Content.Entries = []entry{someEntry(someAlias), someEntry(someAlias6)}
	if err := j.Write(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != someJournal {
		t.Errorf("written: %s, %v", b, err)
	}
	if err := os.WriteFile(path, []byte(someJournal), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readJournal(path)
	if err != nil || !reflect.DeepEqual(got, j.Content) {
		t.Errorf("read %+v, %v; want %+v", got, err, j.Content)
	}
	// Without entries it is gone, and so is all that was beside it.
	j.Content.Entries = nil
	if err := j.Write(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAJournalThatIsNotOursOrDamagedIsLeftAlone(t *testing.T) {
	const entryHead = `{"schema":"connprof.aliases/1","entries":[{"boot":"b","device":"eth0","index":2,"mac":"02:00:00:00:00:0a",`
	for _, c := range []struct{ name, content, says string }{
		{"empty", "", "is damaged"},
		{"cut off", `{"schema":"connprof.aliases/1","entries":[{"boot":"b"`, "is damaged"},
		{"binary", "\x00\x01\x02", "is damaged"},
		{"two journals", `{"schema":"connprof.aliases/1"}{}`, "is damaged"},
		{"wrong type", `{"schema":"connprof.aliases/1","entries":"none"}`, "the string at byte"},
		{"an array", `[]`, "the array at byte"},
		{"no schema", `{}`, "is no journal of connprof netup"},
		{"another program's", `{"schema":"flannel.subnets/1","entries":[]}`, "is no journal of connprof netup"},
		{"connprof's, but a recording", `{"schema":"connprof.recording/1"}`, "is no journal of connprof netup"},
		{"another version's", `{"schema":"connprof.aliases/2"}`, "another version of connprof (schema \"connprof.aliases/2\""},
		{"no aliases", entryHead + `"aliases":[]}]}`, "entry 1 lacks"},
		{"no address", entryHead + `"aliases":[{"label":"eth0:cp0"}]}]}`, "alias without its address"},
		{"no label", entryHead + `"aliases":[{"address":"10.0.0.1/24"}]}]}`, "alias without its address or label"},
		{"no CIDR", entryHead + `"aliases":[{"address":"10.0.0.1"}]}]}`, "is damaged"},
		{"no boot", `{"schema":"connprof.aliases/1","entries":[{"device":"eth0"}]}`, "entry 1 lacks its boot"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "j.json")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openJournal(path)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) ||
				strings.Contains(err.Error(), "Go ") {
				t.Errorf("%v, want an error that says %q", err, c.says)
			}
			if _, err := Down(DownOptions{Journal: path}); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("netdown: %v", err)
			}
			if now, _ := os.ReadFile(path); string(now) != c.content {
				t.Errorf("the file became %q", now)
			}
		})
	}
}

func TestLabelsOfSeveralNetupsStayApart(t *testing.T) {
	at := place{"b", 1}
	j := journal{Entries: []entry{someEntry(someAlias, Alias{netip.MustParsePrefix("10.0.0.2/24"), "eth0:cp7"}), someEntry(someAlias6)}}
	if n := j.nextLabel(at, 2); n != 8 {
		t.Errorf("next label %d, want 8", n)
	}
	for _, n := range []int{j.nextLabel(at, 3), j.nextLabel(place{"c", 1}, 2), j.nextLabel(place{"b", 2}, 2)} {
		if n != 0 {
			t.Errorf("next label %d on another interface, boot or namespace, want 0", n)
		}
	}
}
