package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/connprof/connprof/internal/checkreport"
	"github.com/connprof/connprof/internal/experiment"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/limits"
	"github.com/connprof/connprof/internal/recording"
	"github.com/connprof/connprof/loader"
)

// defaultRecording is the file that connprof run writes unless told otherwise.
const defaultRecording = "connprof.json"

// demand is what the flags ask for, with the cost of an endpoint and where that figure is from.
func (f *checkFlags) demand() (d limits.Demand, source string, err error) {
	role, err := kernel.ParseRole(f.role)
	if err != nil {
		return d, "", err
	}
	d = limits.Demand{Conns: uint64(f.conns), Role: role, Addresses: f.addresses(role), Ports: uint64(f.ports),
		ThreadEach: f.threadEach, ClientBytes: limits.ConnectionBytes / 2, ServerBytes: limits.ConnectionBytes / 2}
	source, err = f.measured(&d)
	return d, source, err
}

// addresses are those asked for, or those that there are for connections to come from.
func (f *checkFlags) addresses(role kernel.Role) uint64 {
	switch {
	case f.ips != 0:
		return uint64(f.ips)
	case role == kernel.RoleServer:
		return uint64(experiment.Defaults().IPs)
	}
	return limits.ClientAddresses()
}

const assumed = "assumed: connprof run measures it"

// measured takes the cost of an endpoint from a recording. One that was not asked for has to be of this kernel.
func (f *checkFlags) measured(d *limits.Demand) (source string, err error) {
	path := f.recording
	if path == "" {
		path = defaultRecording
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return assumed, nil
		}
	}
	rec, err := recording.ReadFile(path)
	release, _ := kernel.Release()
	switch {
	case f.recording == "" && err != nil:
		return assumed + "; " + path + " cannot be read", nil
	case err != nil:
		return "", err
	case f.recording == "" && rec.Machines[0].Host.Kernel != release:
		return fmt.Sprintf("%s; %s is of kernel %s", assumed, path, rec.Machines[0].Host.Kernel), nil
	}
	switch {
	case rec.Kind != recording.KindRun && f.recording == "":
		return assumed + "; " + path + " is not of a run", nil
	case rec.Kind != recording.KindRun:
		return alike(d, rec, path)
	}
	client, server := endpointBytes(rec, kernel.RoleClient), endpointBytes(rec, kernel.RoleServer)
	if client == 0 || server == 0 {
		if f.recording == "" {
			return assumed + "; " + path + " has no idle endpoints of both roles", nil
		}
		return "", fmt.Errorf("%s: it has no ESTABLISHED endpoints of both roles; make one with connprof run", path)
	}
	d.ClientBytes, d.ServerBytes = client, server
	return fmt.Sprintf("measured on kernel %s, %s", rec.Machines[0].Host.Kernel, path), nil
}

// endpointBytes is the page bytes of one established endpoint, rounded up; 0 if there is none.
func endpointBytes(rec *recording.Recording, role kernel.Role) uint64 {
	for _, row := range rec.Rows() {
		if row.Role == role && row.State == kernel.StateEstablished.String() && row.Count > 0 {
			n := uint64(row.Count)
			return (row.PageBytes + n - 1) / n
		}
	}
	return 0
}

// checkDocument puts together what the packages below know.
func (f *checkFlags) document(d limits.Demand, source string, rows []limits.Row) *checkreport.Document {
	release, _ := kernel.Release()
	doc := &checkreport.Document{Schema: checkreport.Schema, Kernel: release, Conns: d.Conns, Role: d.Role,
		ClientAddresses: d.Addresses, ServerPorts: d.Ports, ThreadEach: d.ThreadEach, More: d.Alike, Fits: limits.Fits(rows),
		EndpointBytes: checkreport.EndpointBytes{Client: d.ClientBytes, Server: d.ServerBytes, Queued: d.QueuedBytes, Source: source},
		Features:      kernelFeatures()}
	doc.RunAddresses, doc.RunConns = f.runCapacity()
	roles := limits.Roles
	if d.Alike {
		// What the other end costs is not known.
		roles = []kernel.Role{d.Role}
	}
	for _, r := range rows {
		doc.Limits = append(doc.Limits, checkLimit(r, roles))
	}
	for _, c := range limits.Capacities(rows) {
		if !slices.Contains(roles, c.Role) {
			continue
		}
		doc.Capacity = append(doc.Capacity, checkreport.Capacity{Role: c.Role, Conns: finite(c.Conns), First: c.First,
			Next: c.Next, NextConns: finite(c.NextConns)})
	}
	return doc
}

// checkLimit is a row, with what it holds of the roles that are known.
func checkLimit(r limits.Row, roles []kernel.Role) checkreport.Limit {
	l := checkreport.Limit{Name: r.Limit, Where: r.Where, Unit: r.Unit, Now: finite(r.Now), Used: r.Used, Need: r.Need,
		Verdict: string(r.Verdict), Consequence: r.Consequence, Note: r.Note, Fix: r.Fix, Manual: r.Manual, BindsRun: r.BindsRun}
	if l.Unit == "" {
		l.Unit = "count"
	}
	if r.Verdict == limits.Unknown {
		l.Now = nil
	}
	for role, n := range r.Holds {
		if !slices.Contains(roles, role) {
			continue
		}
		if l.Holds == nil {
			l.Holds = map[kernel.Role]*uint64{}
		}
		l.Holds[role] = finite(n)
	}
	return l
}

// finite is nil for no limit.
func finite(n uint64) *uint64 {
	if n >= limits.NoLimit {
		return nil
	}
	return &n
}

// runCapacity is what connprof run would open by itself, in namespaces and tables of its own, from addresses of its own; nil if
// that is not known.
func (f *checkFlags) runCapacity() (addresses uint64, conns *uint64) {
	ips := f.ips
	if ips == 0 {
		ips = experiment.Defaults().IPs
	}
	n, err := experiment.Capacity(ips, f.ports)
	if err != nil {
		return uint64(ips), nil
	}
	count := uint64(n)
	return uint64(ips), &count
}

// kernelFeatures lists what a run needs of the kernel and of its privileges.
func kernelFeatures() []checkreport.Feature {
	var list []checkreport.Feature
	for _, f := range loader.Probe() {
		list = append(list, checkreport.Feature{Name: f.Name, State: string(f.State), Detail: f.Detail,
			Consequence: f.Consequence, Fix: f.Fix})
	}
	for _, c := range limits.Capabilities(limits.Host{}) {
		list = append(list, capabilityFeature(c))
	}
	return append(list, lockdownFeature())
}

func capabilityFeature(c limits.Capability) checkreport.Feature {
	f := checkreport.Feature{Name: c.Name, State: string(loader.Present), Detail: c.Why}
	switch {
	case c.Err != nil:
		f.State, f.Detail = string(loader.Unclear), c.Err.Error()
	case !c.Has:
		f.State, f.Consequence, f.Fix = string(loader.Absent), "connprof run refuses to start",
			"run it with sudo, outside a container that takes it away"
		if c.Within {
			f.Detail, f.Fix = c.Why+"; here only within a user namespace, which is not enough", "run it outside the user namespace"
		}
		if c.Optional {
			f.Consequence = "hard limits stay as they are; connprof run does not need it"
		}
	}
	return f
}

// lockdowns says what each mode of the kernel's lockdown means for connprof.
var lockdowns = map[string]checkreport.Feature{
	"none":      {State: string(loader.Present)},
	"integrity": {State: string(loader.Present)},
	"confidentiality": {State: string(loader.Absent), Consequence: "BPF may not read kernel memory: no account",
		Fix: "boot with lockdown=integrity, or without lockdown="},
}

func lockdownFeature() checkreport.Feature {
	mode, err := limits.Lockdown(limits.Host{})
	f := lockdowns[mode]
	f.Name, f.Detail = "lockdown", mode
	if err != nil {
		f.State, f.Detail, f.Consequence = string(loader.Unclear), err.Error(), "in mode confidentiality there is no account"
		f.Fix = "read it as root"
	}
	return f
}
