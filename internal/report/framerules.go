package report

import "strings"

// FrameRule names code that stands between a program and connect() or accept(), and says nothing about the program: the C library, a
// language's runtime, an event loop. docs/reference/openers.md lists the rules; a test holds it against them. In a pattern * is any text.
type FrameRule struct {
	What      string
	Modules   []string // patterns of the file's name, without its directory
	Functions []string // patterns of the function's name, without a return type
}

// FrameRules are all there are. A frame that any of them names is passed over.
var FrameRules = []FrameRule{
	{"the C library and the loader", []string{"libc.so*", "libc-*.so", "libpthread*", "ld-linux*", "ld-musl*", "libresolv*", "libanl*", "[vdso]"},
		[]string{"connect", "accept", "accept4", "socket", "syscall", "__connect*", "__accept*", "__libc_*", "__GI_*", "_start", "start_thread",
			"clone", "clone3", "__clone*"}},
	{"TLS libraries", []string{"libssl*", "libcrypto*", "libgnutls*", "libnss*", "libmbedtls*"}, nil},
	{"event loops", []string{"libuv*", "libev.so*", "libevent*", "libglib-2*", "libgio-2*", "libgobject-2*"},
		[]string{"uv_*", "uv__*", "ev_run", "event_base_loop", "event_process_active*", "bufferevent_*", "evconnlistener_*", "aeMain",
			"aeProcessEvents", "anetTcp*", "anetGenericAccept", "ngx_event_process*", "ngx_process_events*", "ngx_epoll_*", "ngx_event_accept",
			"ngx_event_connect_peer", "ngx_event_expire_timers", "ngx_worker_process_cycle", "ngx_single_process_cycle", "ngx_master_process_cycle",
			"ngx_spawn_process", "ngx_start_worker_processes", "g_main_*", "boost::asio::*"}},
	{"C++", []string{"libstdc++*", "libc++*", "libgcc_s*"}, []string{"std::*", "__gnu_cxx::*", "__cxxabiv1::*"}},
	{"Go", nil, []string{"runtime.*", "runtime/*", "internal/*", "syscall.*", "net.*", "net/http.*", "net/http/*", "net/rpc*", "net/textproto.*",
		"crypto/tls.*", "os.*", "sync.*", "sync/*", "context.*", "time.*", "reflect.*", "bufio.*", "io.*", "database/sql.*", "golang.org/x/net/*",
		"vendor/*"}},
	{"Rust", nil, []string{"core::*", "alloc::*", "tokio::*", "mio::*", "socket2::*", "async_io::*", "async_std::*", "futures_*", "hyper_util::*",
		"<std::*", "<core::*", "<alloc::*", "<tokio::*", "<mio::*", "<futures_*", "__rust_*", "rust_*"}},
	{"Java", []string{"libjvm.so*", "libnet.so*", "libnio.so*", "libjava.so*", "libjli.so*"}, []string{"java.*", "javax.net.*", "jdk.*", "sun.*",
		"com.sun.*", "Ljava/*", "Ljavax/net/*", "Ljdk/*", "Lsun/*", "Lcom/sun/*", "io.netty.channel.*", "io.netty.util.*", "Interpreter", "call_stub",
		"JavaMain", "JavaCalls::*", "thread_native_entry"}},
	{"Node.js", []string{"libnode*"}, []string{"node::*", "v8::*", "Builtins_*", "*node:internal/*", "*node:net:*", "*node:http:*", "*node:https:*",
		"*node:events:*", "*node:_http_*", "*node:_tls_*", "*node:tls:*", "*node:dns:*"}},
	{"Python", []string{"libpython*", "python2*", "python3*", "_socket.cpython*", "_ssl.cpython*", "_asyncio.cpython*", "select.cpython*"},
		[]string{"_Py*", "Py_*", "PyEval_*", "PyObject_*", "PyVectorcall_*", "PyRun_*", "PyFunction_*", "cfunction_*", "method_vectorcall*",
			"vectorcall_*", "slot_tp_*", "pymain_*", "sock_connect*", "sock_accept*", "internal_connect", "py::*/socket.py", "py::*/selectors.py",
			"py::*/ssl.py", "py::*/threading.py", "py::*/asyncio/*", "py::*/concurrent/futures/*", "py::*/http/client.py", "py::*/urllib/request.py",
			"py::*/socketserver.py", "py::<frozen *"}},
	{"Ruby, PHP and Perl", []string{"libruby*", "ruby*", "libphp*", "libperl*", "perl", "perl5*", "Socket.so"}, []string{"rb_*", "vm_exec*", "zend_*",
		"execute_ex", "php_*", "_php_*", "Perl_*"}},
}

// passes tells whether a frame is named by none of the rules.
func passes(function, module string) bool {
	for i := range FrameRules {
		if FrameRules[i].names(function, module) {
			return false
		}
	}
	return true
}

func (r *FrameRule) names(function, module string) bool {
	return anyMatches(r.Modules, module[strings.LastIndexByte(module, '/')+1:]) || anyMatches(r.Functions, function)
}

func anyMatches(patterns []string, name string) bool {
	for _, p := range patterns {
		if matches(p, name) {
			return true
		}
	}
	return false
}

// matches is whether a name is as a pattern has it, in which each * is any text.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	if last == 0 {
		return len(name) == len(pattern)
	}
	name = name[len(parts[0]):]
	for _, part := range parts[1:last] {
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return strings.HasSuffix(name, parts[last])
}
