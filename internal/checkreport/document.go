// Package checkreport is what connprof check found, as a JSON document and as a table for a terminal. It knows neither the
// kernel nor the limits: who calls it fills the document in. It imports kernel for the names of roles, format and terminal.
package checkreport

import (
	"encoding/json"
	"io"

	"github.com/connprof/connprof/internal/kernel"
)

// Schema names the version of the JSON that WriteJSON writes.
const Schema = "connprof.check/1"

// Document is what connprof check found: the document of --json, and what WriteText renders. A figure that is null is no
// limit, or not known; the verdict says which.
type Document struct {
	Schema          string        `json:"schema"`
	Kernel          string        `json:"kernel"` // uname -r
	Conns           uint64        `json:"conns"`
	Role            kernel.Role   `json:"role"` // client, server, both: which ends are on this host
	ClientAddresses uint64        `json:"client_addresses"`
	ServerPorts     uint64        `json:"server_ports"`
	ThreadEach      bool          `json:"threads_per_connection"`
	EndpointBytes   EndpointBytes `json:"endpoint_bytes"`
	More            bool          `json:"more"` // the connections are like those of a snapshot, and come on top of them
	Fits            bool          `json:"fits"`
	Limits          []Limit       `json:"limits"`
	Capacity        []Capacity    `json:"capacity"`
	RunAddresses    uint64        `json:"run_addresses"` // client addresses of its own that connprof run would make
	RunConns        *uint64       `json:"run_conns"`     // what it could open from those here
	Features        []Feature     `json:"features"`
}

// EndpointBytes is the kernel memory of one endpoint, in bytes of slab pages; 0 for an end that is not asked about.
type EndpointBytes struct {
	Client uint64 `json:"client"`
	Server uint64 `json:"server"`
	Queued uint64 `json:"queued"` // what the ends of a connection that are here have in their queues, in bytes
	Source string `json:"source"` // the recording it was measured in, or that it is assumed
}

// Limit is one row of the table.
type Limit struct {
	Name    string  `json:"name"`
	Where   string  `json:"where"`
	Unit    string  `json:"unit"` // bytes or count
	Now     *uint64 `json:"now"`
	Used    uint64  `json:"used"`
	Need    uint64  `json:"need"`
	Verdict string  `json:"verdict"` // ok, too low, warns, unknown
	// Holds is how many connections it allows by role; absent for a limit that stops none.
	Holds       map[kernel.Role]*uint64 `json:"holds,omitempty"`
	Consequence string                  `json:"consequence"`
	Note        string                  `json:"note,omitempty"`
	Fix         string                  `json:"fix,omitempty"`    // the command that raises it
	Manual      string                  `json:"manual,omitempty"` // why --fix does not
	BindsRun    bool                    `json:"binds_run"`
}

// Capacity is how many connections the host holds in one role.
type Capacity struct {
	Role      kernel.Role `json:"role"`
	Conns     *uint64     `json:"conns"`
	First     string      `json:"first,omitempty"` // the limit that binds first
	Next      string      `json:"next,omitempty"`  // and the one after it
	NextConns *uint64     `json:"next_conns"`
}

// Feature is something that connprof asks of the kernel.
type Feature struct {
	Name        string `json:"name"`
	State       string `json:"state"` // ok, fallback, missing, unknown
	Detail      string `json:"detail"`
	Consequence string `json:"consequence,omitempty"` // of its absence
	Fix         string `json:"fix,omitempty"`
}

// WriteJSON writes the document.
func WriteJSON(w io.Writer, c *Document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(c)
}
