package export

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/connprof/connprof/internal/report"
)

// Speedscope writes the call paths for speedscope.app: one profile a role, widths in page bytes; or what owners hold.
type Speedscope struct{}

// Write has a profile for each role.
func (Speedscope) Write(w io.Writer, r *report.Report) error {
	return writeSpeedscope(w, "slab pages by call path", r.Samples(), func(p *report.Path) uint64 { return p.Bytes })
}

// WriteDiff writes only the paths that grew, by how much: the format has no negative weights. Where the numbers of endpoints
// differ, the old bytes are scaled to the new number.
func (Speedscope) WriteDiff(w io.Writer, d *report.Diff) error {
	return writeSpeedscope(w, "growth of slab pages by call path", d.Paths, func(p *report.Path) uint64 {
		return p.Bytes - min(p.Bytes, p.OldBytes)
	})
}

// The types below are the part of https://www.speedscope.app/file-format-schema.json that a sampled profile needs.
type speedscopeFile struct {
	Schema   string              `json:"$schema"`
	Name     string              `json:"name"`
	Exporter string              `json:"exporter"`
	Shared   speedscopeShared    `json:"shared"`
	Profiles []speedscopeProfile `json:"profiles"`
}

type speedscopeShared struct {
	Frames []speedscopeFrame `json:"frames"`
}

type speedscopeFrame struct {
	Name string `json:"name"`
}

type speedscopeProfile struct {
	Type       string   `json:"type"`
	Name       string   `json:"name"`
	Unit       string   `json:"unit"`
	StartValue uint64   `json:"startValue"`
	EndValue   uint64   `json:"endValue"`
	Samples    [][]int  `json:"samples"`
	Weights    []uint64 `json:"weights"`
}

func writeSpeedscope(w io.Writer, name string, paths []*report.Path, weight func(*report.Path) uint64) error {
	file := speedscopeFile{Schema: "https://www.speedscope.app/file-format-schema.json", Name: name, Exporter: "connprof",
		Shared: speedscopeShared{Frames: []speedscopeFrame{}}, Profiles: []speedscopeProfile{}}
	index := map[string]int{}
	for _, p := range paths {
		bytes := weight(p)
		if bytes == 0 {
			continue
		}
		profile := file.profile(profileName(p))
		profile.Samples = append(profile.Samples, file.frames(index, p))
		profile.Weights = append(profile.Weights, bytes)
		profile.EndValue += bytes
	}
	if err := json.NewEncoder(w).Encode(file); err != nil {
		return fmt.Errorf("write speedscope profile: %w", err)
	}
	return nil
}

// profileName is the role of a call path. What owners hold is one profile.
func profileName(p *report.Path) string {
	switch {
	case p.Of != nil && p.Of.Code:
		return "still open, by code"
	case p.Of != nil:
		return "by owner"
	}
	return p.Role.String()
}

// profile is the one of a name; paths come role by role, so it is the last or a new one.
func (f *speedscopeFile) profile(name string) *speedscopeProfile {
	if n := len(f.Profiles); n == 0 || f.Profiles[n-1].Name != name {
		f.Profiles = append(f.Profiles, speedscopeProfile{Type: "sampled", Name: name, Unit: "bytes"})
	}
	return &f.Profiles[len(f.Profiles)-1]
}

func (f *speedscopeFile) frames(index map[string]int, p *report.Path) []int {
	stack := make([]int, 0, len(p.Frames)+1)
	for _, name := range append(append([]string(nil), p.Frames...), p.Type) {
		i, known := index[name]
		if !known {
			i = len(f.Shared.Frames)
			index[name] = i
			f.Shared.Frames = append(f.Shared.Frames, speedscopeFrame{name})
		}
		stack = append(stack, i)
	}
	return stack
}
