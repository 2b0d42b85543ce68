package report

import (
	"sort"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Row is the endpoints of one role in one state.
type Row struct {
	Role     kernel.Role
	Title    string // client endpoints
	State    string
	Count    string
	Objects  []Object // the costliest first
	Object   string   // bytes an endpoint, in objects
	Page     string   // bytes an endpoint, in slab pages
	Size     string   // the same, short
	PageEach float64  // the same
	Queued   string   // data queued by an endpoint; empty when there is none
}

func rowsOf(list []*recording.EndpointRow) []Row {
	var rows []Row
	for _, row := range list {
		rows = append(rows, Row{Role: row.Role, Title: rowTitle(row.Role), State: format.Clean(row.State),
			Count: format.Count(row.Count), Objects: objectsOf(row), Object: format.Each(row.ObjectBytes, row.Count),
			Page: format.Each(row.PageBytes, row.Count), Size: format.Size(pageEach(row)), PageEach: pageEach(row),
			Queued: queued(row)})
	}
	return rows
}

func queued(row *recording.EndpointRow) string {
	if row.BufferBytes == 0 {
		return ""
	}
	return format.Size(bufferEach(row))
}

// roleLess is the order in which roles are shown; an unknown one comes last.
func roleLess(a, b kernel.Role) bool { return a-1 < b-1 }

// sortedRows are the endpoint rows with content, by role, then the most endpoints first.
func sortedRows(r *recording.Recording) []*recording.EndpointRow {
	var rows []*recording.EndpointRow
	for _, row := range r.Rows() {
		if row.Count > 0 || row.PageBytes > 0 || len(row.Objects) > 0 {
			rows = append(rows, row)
		}
	}
	sort.SliceStable(rows, func(i, j int) bool {
		a, b := rows[i], rows[j]
		if a.Role != b.Role {
			return roleLess(a.Role, b.Role)
		}
		if a.Count != b.Count {
			return a.Count > b.Count
		}
		return a.State < b.State
	})
	return rows
}

// rowTitles name the endpoints of a role.
var rowTitles = map[kernel.Role]string{kernel.RoleClient: "Client endpoints", kernel.RoleServer: "Server endpoints",
	kernel.RoleListener: "Listeners"}

func rowTitle(role kernel.Role) string {
	if title, known := rowTitles[role]; known {
		return title
	}
	return "Endpoints of an unknown role"
}

// Object is one line of the account's table: all endpoints of a row, one object type.
type Object struct {
	Type, Cache string
	Count       string
	EachObject  string // object bytes of one object
	PerEndpoint string // objects an endpoint holds; fractional where endpoints share
	Page        string // page bytes in all, short
	PageEach    string // page bytes an endpoint
	Share       string
	Fraction    float64 // of the row's page bytes, 0 to 1
	Category    string
}

func objectsOf(row *recording.EndpointRow) []Object {
	objects := append([]recording.ObjectRow(nil), row.Objects...)
	sort.SliceStable(objects, func(i, j int) bool {
		if objects[i].PageBytes != objects[j].PageBytes {
			return objects[i].PageBytes > objects[j].PageBytes
		}
		return objects[i].Type < objects[j].Type
	})
	lines := make([]Object, len(objects))
	for i, o := range objects {
		lines[i] = Object{
			Type:        format.Clean(o.Type),
			Cache:       format.Clean(o.Cache),
			Count:       format.Count(o.Count),
			EachObject:  perObject(o),
			PerEndpoint: perEndpoint(o.Count, row.Count),
			Page:        format.Size(float64(o.PageBytes)),
			PageEach:    format.Each(o.PageBytes, row.Count),
			Share:       format.Percent(float64(o.PageBytes), float64(row.PageBytes)),
			Fraction:    min(format.Ratio(float64(o.PageBytes), float64(row.PageBytes)), 1),
			Category:    Categories[CategoryOf(o.Type)].ID,
		}
	}
	return lines
}

// perObject shows the decimal only where the objects of a type are not all of one size.
func perObject(o recording.ObjectRow) string {
	if o.Count <= 0 {
		return format.None
	}
	return format.Group(format.Trimmed(o.ObjectBytes, uint64(o.Count), 1))
}

func perEndpoint(objects, endpoints int) string {
	if endpoints <= 0 || objects < 0 {
		return format.None
	}
	s := format.Trimmed(uint64(objects), uint64(endpoints), 2)
	if s == "0" && objects > 0 {
		return "<0.01"
	}
	return format.Group(s)
}
