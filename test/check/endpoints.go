package check

import (
	"errors"
	"fmt"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Objects counts the endpoints of a role and state, and their objects by type.
func Objects(m *recording.Machine, role kernel.Role, state string) (endpoints int, objects map[string]int) {
	objects = map[string]int{}
	for _, row := range m.Endpoints {
		if row.Role == role && row.State == state {
			endpoints += row.Count
			for _, o := range row.Objects {
				objects[o.Type] += o.Count
			}
		}
	}
	return endpoints, objects
}

// Established is the only row of a role, which is ESTABLISHED.
func Established(m *recording.Machine, role kernel.Role) (recording.EndpointRow, error) {
	var rows []recording.EndpointRow
	for _, row := range m.Endpoints {
		if row.Role == role {
			rows = append(rows, row)
		}
	}
	if len(rows) != 1 || rows[0].State != established {
		return recording.EndpointRow{}, fmt.Errorf("want one row of %s endpoints, %s: %+v", role, established, rows)
	}
	return rows[0], nil
}

// Endpoints wants each connection ESTABLISHED at one end.
func Endpoints(m *recording.Machine, role kernel.Role, conns int) error {
	row, err := Established(m, role)
	if err == nil && row.Count != conns {
		err = fmt.Errorf("%d %s endpoints %s, want %d", row.Count, role, established, conns)
	}
	return err
}

// End wants each connection ESTABLISHED at one end, with one object of each type an endpoint.
func End(m *recording.Machine, role kernel.Role, conns int) error {
	errs := []error{Endpoints(m, role, conns)}
	_, objects := Objects(m, role, established)
	for _, typ := range OneEach {
		if objects[typ] != conns {
			errs = append(errs, fmt.Errorf("%d %s of %s endpoints, want %d", objects[typ], typ, role, conns))
		}
	}
	return errors.Join(errs...)
}

// Listeners wants as many listeners as there are server ports.
func Listeners(m *recording.Machine, ports int) error {
	if n, _ := Objects(m, kernel.RoleListener, kernel.StateListen.String()); n != ports {
		return fmt.Errorf("%d listeners, want one a port: %d", n, ports)
	}
	return nil
}

// Spread wants the connecting ends on as many addresses as were asked for, the same number on each if they can be so dealt out.
func Spread(m *recording.Machine, ips, conns int) error {
	var errs []error
	used := 0
	for _, a := range m.Addresses {
		if a.Role != kernel.RoleClient {
			continue
		}
		used++
		if a.Count < conns/ips || a.Count > (conns+ips-1)/ips {
			errs = append(errs, fmt.Errorf("%d endpoints on %s: %d connections from %d addresses", a.Count, a.Address, conns, ips))
		}
	}
	if used != min(ips, conns) {
		errs = append(errs, fmt.Errorf("%d client addresses, want %d", used, min(ips, conns)))
	}
	return errors.Join(errs...)
}

// Caches wants a cache, and pages that hold them, for the objects of each row. What endpoints share is a fraction of an object
// in a row, and its number is rounded.
func Caches(m *recording.Machine) error {
	var errs []error
	for _, row := range m.Endpoints {
		for _, o := range row.Objects {
			least := o.ObjectBytes
			if o.Count > 0 && !slices.Contains(OneEach, o.Type) {
				least -= o.ObjectBytes / uint64(o.Count)
			}
			if o.Cache == "" || o.Count > 0 && o.PageBytes == 0 || o.PageBytes < least*99/100 {
				errs = append(errs, fmt.Errorf("%s %s: want a cache, and pages that hold the objects: %+v", row.Role, row.State, o))
			}
		}
	}
	return errors.Join(errs...)
}
