// Package filter chooses endpoints: by an expression over their fields (Compile, language of expr-lang/expr), or by plain
// values (Plain). Fields are filled in by who walks; a filter reads them, and tells yes or no. It looks at nothing else.
package filter

import (
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/connprof/connprof/internal/kernel"
)

// Fields is what can be asked of an endpoint. The names that an expression knows are the tags.
type Fields struct {
	Role      string `expr:"role"`   // client, server, listener, unknown
	State     string `expr:"state"`  // the kernel's name
	Local     string `expr:"local"`  // address, without the port
	Remote    string `expr:"remote"` // address, without the port; empty for a listener
	LPort     int    `expr:"lport"`
	RPort     int    `expr:"rport"`
	PID       int    `expr:"pid"` // the first of PIDs, 0 for none
	Comm      string `expr:"comm"`
	UID       int    `expr:"uid"`
	Cgroup    string `expr:"cgroup"`    // path
	Container string `expr:"container"` // ID
	Netns     int    `expr:"netns"`     // inode number
	// Age and Idle are in seconds. Where they are not known they are NaN, which is neither more nor less than any number.
	Age         float64 `expr:"age"`
	Idle        float64 `expr:"idle"`
	PageBytes   int     `expr:"page_bytes"`
	BufferBytes int     `expr:"buffer_bytes"`
	RxBytes     int     `expr:"rx_bytes"`
	TxBytes     int     `expr:"tx_bytes"`
	Unread      int     `expr:"unread"` // bytes
	// Objects counts the endpoint's objects by type (kernel.ObjectType). What is not in it is 0.
	Objects map[string]int `expr:"objects"`

	// PIDs is all processes that have it open.
	PIDs []int `expr:"-"`
}

// Names are the fields that an expression knows.
var Names = func() (names []string) {
	for field := range reflect.TypeFor[Fields]().Fields() {
		if name := field.Tag.Get("expr"); name != "-" {
			names = append(names, name)
		}
	}
	return names
}()

// Of fills in what the walk knows of an endpoint, but for its addresses and objects: making texts and a map of them takes
// longer than all the rest (see Filter.Of). Its owner, role and page bytes are not among what the walk knows.
func Of(f *Fields, e *kernel.Endpoint) {
	*f = Fields{State: e.State.String(), LPort: int(e.Local.Port()), RPort: int(e.Remote.Port()), Netns: int(e.Netns),
		UID: int(e.Live.UID), Age: seconds(e.Live.Age), Idle: seconds(e.Live.Idle), BufferBytes: int(e.Buffers.Bytes()),
		RxBytes: int(e.Buffers.Rmem) + int(e.Buffers.Backlog), TxBytes: int(e.Buffers.Wmem), Unread: int(e.UnreadData()),
		Objects: f.Objects}
	clear(f.Objects)
}

// Of fills in what the walk knows of an endpoint and the expression asks for. The map of objects is used again.
func (f *Filter) Of(fields *Fields, e *kernel.Endpoint) {
	Of(fields, e)
	if f.asks["objects"] {
		if fields.Objects == nil {
			fields.Objects = map[string]int{}
		}
		for kind, n := range e.Objects {
			if n > 0 {
				fields.Objects[kernel.ObjectType(kind).String()] = int(n)
			}
		}
	}
	if local := e.Local.Addr(); f.asks["local"] && local.IsValid() {
		fields.Local = local.Unmap().String()
	}
	if remote := e.Remote.Addr(); f.asks["remote"] && remote.IsValid() && (!remote.IsUnspecified() || e.Remote.Port() != 0) {
		fields.Remote = remote.Unmap().String()
	}
}

func seconds(d time.Duration) float64 {
	if d < 0 {
		return math.NaN()
	}
	return d.Seconds()
}

// isBelow tells whether a path is that of a cgroup, or of one below it.
func isBelow(path, cgroup string) bool {
	cgroup = "/" + strings.Trim(cgroup, "/")
	if cgroup == "/" {
		return strings.HasPrefix(path, "/")
	}
	rest, is := strings.CutPrefix(path, cgroup)
	return is && (rest == "" || rest[0] == '/')
}
