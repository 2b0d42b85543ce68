package report

import (
	"os"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// cell is a list of patterns as the page has it.
func patternCell(list []string) string {
	quoted := make([]string, len(list))
	for i, p := range list {
		quoted[i] = "`" + p + "`"
	}
	return strings.Join(quoted, " ")
}

func TestThePageListsTheFrameRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/openers.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, r := range FrameRules {
		want = append(want, "| "+r.What+" | "+patternCell(r.Modules)+" | "+patternCell(r.Functions)+" |")
	}
	_, table, _ := strings.Cut(string(text), "| code | files | functions |\n| --- | --- | --- |\n")
	for _, line := range strings.Split(table, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		got = append(got, line)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("docs/reference/openers.md is to have these rows:\n%s", strings.Join(want, "\n"))
	}
}

func TestAPatternIsAnyTextWhereItHasAStar(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		is            bool
	}{
		{"connect", "connect", true}, {"connect", "connector", false}, {"connect", "reconnect", false}, {"net.*", "net.Dial", true},
		{"net.*", "net/http.Get", false}, {"libc.so*", "libc.so.6", true}, {"libc-*.so", "libc-2.31.so", true}, {"libc-*.so", "libc-2.31.so.1", false},
		{"py::*/socket.py", "py::create_connection:/usr/lib/python3/socket.py", true}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "ac", false},
		{"a*a", "a", false}, {"*", "", true}, {"", "", true}, {"", "x", false},
	} {
		if matches(c.pattern, c.name) != c.is {
			t.Errorf("%q matches %q: want %v", c.pattern, c.name, c.is)
		}
	}
}

// stack makes frames of "module function", root first.
func stack(list ...string) []Frame {
	frames := make([]Frame, len(list))
	for i, text := range list {
		module, function, _ := strings.Cut(text, " ")
		frames[i] = Frame{Name: function, Location: recording.Location{Module: module, Function: function}}
		if function == "?" {
			frames[i].Name, frames[i].Function = "", ""
		}
		frames[i].clean()
	}
	return frames
}

func TestTheFramesThatMatterAreTheProgramsOwn(t *testing.T) {
	for _, c := range []struct {
		language, want string
		frames         []Frame
	}{
		{"Go", "pool.(*Pool).dial ← main.serve", stack("/app/api runtime.goexit", "/app/api net/http.(*conn).serve", "/app/api main.serve",
			"/app/api github.com/acme/pool.(*Pool).dial", "/app/api net.(*Dialer).DialContext", "/app/api internal/poll.(*FD).Connect",
			"/app/api syscall.Syscall")},
		{"C", "fetch ← run ← main", stack("/usr/bin/c _start", "/lib/libc.so.6 __libc_start_main", "/usr/bin/c main", "/usr/bin/c run", "/usr/bin/c fetch",
			"/lib/libc.so.6 connect")},
		{"C from main", "main", stack("/usr/bin/c _start", "/lib/libc.so.6 __libc_start_main", "/usr/bin/c main", "/lib/libc.so.6 connect")},
		{"C++ over asio and TLS", "Client::open ← Client::run", stack("/usr/bin/x std::thread::_State_impl<std::thread::_Invoker<int> >::_M_run()",
			"/usr/bin/x Client::run()", "/usr/bin/x Client::open(std::string const&)", "/usr/bin/x boost::asio::detail::socket_ops::connect(int, void*)",
			"/lib/libssl.so.3 SSL_connect", "/lib/libc.so.6 __libc_connect")},
		{"C++ with a return type", "make", stack("/usr/bin/x std::unique_ptr<Conn> make<Conn>(int)", "/usr/bin/x void std::invoke<int>(int)")},
		{"Rust", "shop::db::open", stack("/usr/bin/r std::rt::lang_start", "/usr/bin/r shop::db::open", "/usr/bin/r <tokio::net::TcpStream as X>::connect",
			"/usr/bin/r mio::net::connect", "/lib/libc.so.6 connect")},
		{"Java", "com.acme.Pool.open", stack("/usr/lib/jvm/libjvm.so JavaMain", "[jit] void com.acme.Pool.open(java.lang.String)",
			"[jit] java.net.Socket.connect(java.net.SocketAddress)", "[jit] sun.nio.ch.Net.connect0", "/usr/lib/jvm/libnio.so Java_sun_nio_ch_Net_connect0")},
		{"Node.js", "open app.js:12:3", stack("/usr/bin/node node::Start", "[jit] LazyCompile:~open /srv/app.js:12:3",
			"[jit] LazyCompile:*connect node:net:1250:10", "/usr/bin/node node::TCPWrap::Connect", "/usr/bin/node uv_tcp_connect", "/lib/libc.so.6 connect")},
		{"Python with names", "fetch job.py ← main job.py", stack("[jit] py::main:/srv/job.py", "[jit] py::fetch:/srv/job.py",
			"[jit] py::create_connection:/usr/lib/python3.12/socket.py", "/usr/bin/python3.12 sock_connect", "/lib/libc.so.6 connect")},
		{"Python without", "sock_connect", stack("/usr/bin/python3.12 _PyEval_EvalFrameDefault", "/usr/lib/_socket.cpython-312.so sock_connect",
			"/lib/libc.so.6 connect")},
		{"nginx", "ngx_event_accept ← main", stack("/usr/sbin/nginx main", "/usr/sbin/nginx ngx_worker_process_cycle", "/usr/sbin/nginx ngx_event_accept",
			"/lib/libc.so.6 accept4")},
		{"no names", "legacyd+0x0", stack("/opt/legacyd ?", "/opt/legacyd ?")},
		{"a name above code without", "work", stack("/opt/x work", "/opt/x ?", "/lib/libc.so.6 connect")},
		{"nothing", "", nil},
	} {
		var names []string
		for _, f := range matter(c.frames, 3) {
			names = append(names, f.Short())
		}
		if got := strings.Join(names, " ← "); got != c.want {
			t.Errorf("%s: %s, want %s", c.language, got, c.want)
		}
	}
}

func TestANameIsCutToWhatOneSays(t *testing.T) {
	for name, want := range map[string]string{
		"github.com/acme/api/pool.(*Pool).dial":          "pool.(*Pool).dial",
		"gopkg.in/x.v2.Map[github.com/acme/a.K,int].Get": "x.v2.Map.Get",
		"main.main.func1":                                   "main.main.func1",
		"db::Pool<db::Postgres>::fill(int)":                 "db::Pool::fill",
		"void ns::f<int>(std::vector<int, std::less<int>>)": "ns::f",
		"(anonymous namespace)::f(int)":                     "(anonymous namespace)::f(int)",
		"<tokio::net::TcpStream as X>::connect":             "<tokio::net::TcpStream as X>::connect",
		"bool operator<(A const&, B const&)":                "bool operator<",
		"ngx_event_accept":                                  "ngx_event_accept",
		"py::fetch:/srv/job.py":                             "fetch job.py",
		"a/b":                                               "b",
		"":                                                  "",
		"(":                                                 "(",
		"<":                                                 "<",
		"x>y":                                               "x>y",
	} {
		if got := shortFunction(name); got != want {
			t.Errorf("%q is shortened to %q, want %q", name, got, want)
		}
	}
}
