//go:build browser

package html

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests with the tag browser show pages to a real one: Debian's chromium, by the WebDriver protocol. make test-page
// installs it.

// browser is a session of a browser that the test ends.
type browser struct {
	t       *testing.T
	session string // URL
}

// patience is for commands that start a browser or load a page on a busy host.
const patience = time.Minute

var chromiumArgs = []string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
	"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"}

// started is the one browser that all tests share: to start one takes longer than any of them.
var started struct {
	sync.Once
	session string
	driver  *exec.Cmd
	profile string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if started.driver != nil {
		(&browser{nil, started.session}).call(http.MethodDelete, "", nil, nil)
		started.driver.Process.Kill()
		started.driver.Wait()
		os.RemoveAll(started.profile)
	}
	os.Exit(code)
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	started.Do(func() {
		if err := start(); err != nil {
			t.Errorf("start a browser: %v; make test-page installs it", err)
		}
	})
	if started.session == "" {
		t.Fatal("there is no browser")
	}
	b := &browser{t, started.session}
	b.resize(1280, 1000)
	b.errors()
	return b
}

func start() error {
	driver := exec.Command("chromedriver", "--port=0")
	out, err := driver.StdoutPipe()
	if err != nil {
		return err
	}
	if err := driver.Start(); err != nil {
		return err
	}
	started.driver = driver
	port := 0
	for lines := bufio.NewScanner(out); port == 0 && lines.Scan(); {
		if _, at, found := strings.Cut(lines.Text(), "successfully on port "); found {
			fmt.Sscan(at, &port)
		}
	}
	go io.Copy(io.Discard, out)
	if started.profile, err = os.MkdirTemp("", "connprof-browser-"); err != nil {
		return err
	}
	args := append([]string{"--user-data-dir=" + started.profile}, chromiumArgs...)
	var session struct{ SessionID string }
	url := fmt.Sprintf("http://127.0.0.1:%d/session", port)
	err = (&browser{nil, url}).call(http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome", "goog:chromeOptions": map[string]any{"args": args},
		"goog:loggingPrefs": map[string]string{"browser": "ALL"}}}}, &session)
	started.session = url + "/" + session.SessionID
	return err
}

// do sends a command and reads its value.
func (b *browser) do(method, path string, body, value any) {
	b.t.Helper()
	if err := b.call(method, path, body, value); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) call(method, path string, body, value any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequest(method, b.session+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %v: %.500s", method, path, response.Status, err, answer.Value)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// open shows a page, with what follows # in its address.
func (b *browser) open(page, hash string) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.do(http.MethodPost, "/url", map[string]string{"url": "file://" + file + "#" + hash}, nil)
}

// js runs the body of a function in the page.
func (b *browser) js(value any, body string, args ...any) {
	b.t.Helper()
	if args == nil {
		args = []any{}
	}
	b.do(http.MethodPost, "/execute/sync", map[string]any{"script": body, "args": args}, value)
}

// text is the value of a JavaScript expression that gives a string.
func (b *browser) text(expression string) (s string) {
	b.t.Helper()
	b.js(&s, "return String("+expression+")")
	return s
}

// is tells whether an expression holds.
func (b *browser) is(expression string) bool {
	b.t.Helper()
	return b.text("Boolean("+expression+")") == "true"
}

// want fails the test unless an expression has a value.
func (b *browser) want(expression, want string) {
	b.t.Helper()
	if got := b.text(expression); got != want {
		b.t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

// Keys that have no character, as WebDriver names them.
const (
	keyEnter, keyEscape    = "\ue007", "\ue00c"
	keyUp, keyDown         = "\ue013", "\ue015"
	keyLeft, keyRight      = "\ue012", "\ue014"
	keyBackspace, keySpace = "\ue003", " "
)

// press strikes keys, one after the other.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	var actions []map[string]any
	for _, key := range keys {
		actions = append(actions, map[string]any{"type": "keyDown", "value": key}, map[string]any{"type": "keyUp", "value": key})
	}
	b.do(http.MethodPost, "/actions", map[string]any{"actions": []any{
		map[string]any{"type": "key", "id": "keyboard", "actions": actions}}}, nil)
}

// point moves the mouse over the middle of the element that an expression gives, and clicks if told to.
func (b *browser) point(expression string, click bool) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	b.js(&at, "document.getAnimations().forEach(a => a.finish()); const e = "+expression+"; e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"+
		"return {X: r.left + r.width / 2, Y: r.top + r.height / 2}")
	actions := []any{map[string]any{"type": "pointerMove", "duration": 0, "x": int(at.X), "y": int(at.Y)}}
	if click {
		actions = append(actions, map[string]any{"type": "pointerDown", "button": 0}, map[string]any{"type": "pointerUp", "button": 0})
	}
	b.do(http.MethodPost, "/actions", map[string]any{"actions": []any{
		map[string]any{"type": "pointer", "id": "mouse", "actions": actions}}}, nil)
}

// errors are what the page has said on the console since the last call.
func (b *browser) errors() []string {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.do(http.MethodPost, "/se/log", map[string]string{"type": "browser"}, &entries)
	var list []string
	for _, e := range entries {
		list = append(list, e.Level+": "+e.Message)
	}
	return list
}

// resize sets the width of what the page has to itself.
func (b *browser) resize(width, height int) {
	b.t.Helper()
	b.do(http.MethodPost, "/goog/cdp/execute", map[string]any{"cmd": "Emulation.setDeviceMetricsOverride", "params": map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}}, nil)
}

// shoot keeps a picture of the page where CONNPROF_SHOTS names a directory.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("CONNPROF_SHOTS")
	if dir == "" {
		return
	}
	var picture string
	b.do(http.MethodGet, "/screenshot", nil, &picture)
	data, err := base64.StdEncoding.DecodeString(picture)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}
