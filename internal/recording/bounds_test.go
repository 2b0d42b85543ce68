package recording

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A process that this is set for reads one file and says how much memory it took.
const readEnv = "CONNPROF_TEST_READ"

func TestMain(m *testing.M) {
	path := os.Getenv(readEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	_, err := ReadFile(path)
	fmt.Println(peakKiB(), err)
}

// peakKiB is the most memory that this process has had resident. getrusage() has its parent's in it.
func peakKiB() int {
	status, _ := os.ReadFile("/proc/self/status")
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kibibytes := 0
	_, _ = fmt.Sscan(peak, &kibibytes)
	return kibibytes
}

// members is a gzip file of as many equal parts: it takes no longer to make than one.
func members(t *testing.T, head, part string, n int) []byte {
	t.Helper()
	return append(zipped(t, head), bytes.Repeat(zipped(t, part), n)...)
}

const (
	machineHead = `{"schema":"connprof.recording/2","machines":[{`
	mebibyte    = 1 << 20
)

// hostile are files of a few megabytes at most that would be gigabytes in memory, each with the bound that it is beyond.
func hostile(t *testing.T) map[string]struct {
	data  []byte
	bound string
} {
	t.Helper()
	blanks := strings.Repeat(" ", 4*mebibyte)
	return map[string]struct {
		data  []byte
		bound string
	}{
		"4 GiB of blanks":      {members(t, machineHead, blanks, 1024), "128 MiB when unpacked"},
		"4 GiB of zeros":       {nil, "128 MiB when unpacked"},
		"rows":                 {members(t, machineHead+`"endpoints":[{}`, strings.Repeat(",{}", 1_000_000), 40), "500000 rows"},
		"machines":             {members(t, `{"schema":"connprof.recording/2","machines":[{}`, strings.Repeat(",{}", 400_000)+"]}", 1), "16 machines"},
		"frames":               {members(t, machineHead+`"stacks":[{"frames":["a"`, strings.Repeat(`,"a"`, 1_000_000), 60), "5000000 values"},
		"members of an object": {members(t, machineHead+`"top":[{"objects":{"a":1`, strings.Repeat(`,"b":1`, 1_000_000), 30), "5000000 values"},
		"a text":               {members(t, machineHead+`"name":"`, strings.Repeat("x", mebibyte), 100), "text of more than 1 MiB"},
		"a text of escapes":    {members(t, machineHead+`"name":"`, strings.Repeat(`\"`, mebibyte), 4), "text of more than 1 MiB"},
		"a schema":             {[]byte(`{"schema":"` + strings.Repeat("s", 2*mebibyte) + `"}`), "text of more than 1 MiB"},
		"depth":                {members(t, machineHead+`"x":`, strings.Repeat("[", mebibyte), 60), "32 deep"},
		"peers":                {[]byte(strings.Repeat(`{"schema":"connprof.recording/1","peer":`, 100)), "32 deep"},
	}
}

func TestWhatIsBeyondABoundIsRefusedBeforeItIsInMemory(t *testing.T) {
	dir := t.TempDir()
	for name, file := range hostile(t) {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		err := os.WriteFile(path, file.data, 0o600)
		if len(file.data) == 0 { // not gzipped
			err = errors.Join(err, os.Truncate(path, 4<<30))
		}
		if err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), readEnv+"="+path)
		out, err := child.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kibibytes, said := 0, ""
		if _, err := fmt.Sscan(string(out), &kibibytes); err != nil {
			t.Fatalf("%s: %q: %v", name, out, err)
		}
		_, said, _ = strings.Cut(string(out), " ")
		if !strings.Contains(said, file.bound) || !strings.Contains(said, "give a file that connprof wrote") {
			t.Errorf("%s: %q does not speak of %s", name, said, file.bound)
		}
		if kibibytes == 0 || kibibytes > 300<<10 {
			t.Errorf("%s: %d MiB resident", name, kibibytes>>10)
		}
		t.Logf("%s: %d bytes, %d MiB resident", name, len(file.data), kibibytes>>10)
	}
}

// The bounds are for what others make.
func TestTheLargestRecordingIsWithinTheBounds(t *testing.T) {
	r := fullRecording()
	m := r.Machines[0]
	group := Group{Netns: 1<<32 - 1, Cgroup: "/" + strings.Repeat("kubepods.slice/", 8), Unit: strings.Repeat("u", 40),
		Container: strings.Repeat("c", 64), Pod: strings.Repeat("p", 36), PID: 1 << 22, Comm: strings.Repeat("x", 15), UID: 1 << 31,
		Owner: OwnerAcceptQueue, Role: m.Endpoints[1].Role, State: "ESTABLISHED", Listener: "[2001:db8::1]:65535", Count: 1 << 20,
		ObjectBytes: 1 << 40, PageBytes: 1 << 40, BufferBytes: 1 << 40, RxBytes: 1 << 40, TxBytes: 1 << 40, UnreadSockets: 1 << 20,
		UnreadBytes: 1 << 40, Idle: &Spread{12345.678, 123456.789}}
	const groups, part = 100_000, 10
	for range groups / part {
		m.Groups = append(m.Groups, group)
	}
	var has meter
	if err := r.Write(&has); err != nil {
		t.Fatal(err)
	}
	if has.bytes*part > mostBytes || has.values*part > mostValues || has.objects*part > mostObjects {
		t.Errorf("a tenth of %d groups has %+v", groups, has)
	}
	t.Logf("%+v", has)
}

// A schema, a role or a time may be a text of any length.
func TestMessagesAreShort(t *testing.T) {
	long := strings.Repeat("x", mebibyte-1)
	for name, text := range map[string]string{
		"schema":           `{"schema":"` + long + `"}`,
		"peer's schema":    `{"schema":"connprof.recording/1","peer":{"schema":"` + long + `"}}`,
		"role":             `{"schema":"connprof.recording/2","machines":[{"endpoints":[{"role":"` + long + `"}]}]}`,
		"time":             `{"schema":"connprof.recording/2","created":"` + long + `"}`,
		"name of a member": `{"schema":"connprof.recording/2","machines":[{"top":[{"objects":{"` + long + `":"x"}}]}]}`,
	} {
		_, err := Read(strings.NewReader(text))
		if err == nil || len(err.Error()) > 500 {
			t.Errorf("%s: %.600v", name, err)
			continue
		}
		if said := err.Error(); !strings.HasSuffix(said, "record again") && !strings.HasSuffix(said, "use the connprof that wrote it") {
			t.Errorf("%s: what to do is cut off: %s", name, said)
		}
	}
}

func TestAByteOrderMarkIsReadOver(t *testing.T) {
	plain := string(written(t, "r"))
	for name, data := range map[string][]byte{"plain": []byte("\ufeff" + plain), "gzip": zipped(t, "\ufeff"+plain)} {
		if r, err := Read(bytes.NewReader(data)); err != nil || r.Version != "v1" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
