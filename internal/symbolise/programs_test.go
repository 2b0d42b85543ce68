package symbolise

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Real programs that wait in a system call, and some of the functions that must be on the way there.
func TestRunningKernelsRealProgramsAreUnwoundWhole(t *testing.T) {
	const python = "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\ns.accept()"
	nginx := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(nginx, []byte("daemon off; master_process off; error_log /dev/null; pid /dev/null; events {}"),
		0o644); err != nil {
		t.Fatal(err)
	}
	for _, program := range []struct {
		name   string
		args   []string
		number int
		want   []string
	}{
		{"/usr/bin/python3", []string{"-c", python}, unix.SYS_ACCEPT4,
			[]string{"accept4", "_PyEval_EvalFrameDefault", "Py_BytesMain", "_start"}},
		{"/usr/bin/redis-server", []string{"--port", "0", "--save", "", "--unixsocket", filepath.Join(t.TempDir(), "redis")},
			epollWait, []string{"epoll_wait", "main", "_start"}},
		{"/usr/sbin/nginx", []string{"-e", "/dev/null", "-c", nginx}, epollWait,
			[]string{"epoll_wait", "ngx_process_events_and_timers", "ngx_single_process_cycle", "_start"}},
		{"/usr/bin/node", []string{"-e", "require('net').createServer().listen(0, '127.0.0.1')"}, unix.SYS_EPOLL_PWAIT,
			[]string{"epoll_pwait", "uv_run", "node::Start", "_start"}},
	} {
		t.Run(program.name, func(t *testing.T) {
			t.Parallel()
			pid := run(t, program.name, program.args...)
			p, _, path := unwoundOf(t, pid, waitFor(t, pid, program.number, -1), 4*copied) // libuv has 12 KiB of events there
			frames := p.Frames(path.Addresses)
			names := functions(frames)
			for _, want := range program.want {
				if !slices.Contains(names, want) {
					t.Errorf("no %s", want)
				}
			}
			t.Logf("%v%s", path.End, show(frames))
			if path.End != Bottom || t.Failed() {
				t.Errorf("%v%s", path.End, show(frames))
			}
		})
	}
}
