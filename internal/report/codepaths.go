package report

import (
	"math"
	"slices"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// codePaths are the paths of a record: process, the code from its root on, connect() or accept(), and the kernel's objects of what is
// still open. Processes of one name are one, so that two records of a program have the same paths. Openers of which nothing is open
// are left out.
func codePaths(m *recording.Machine) []*Path {
	byKey := map[string]*Path{}
	for i := range m.Openers {
		o := &m.Openers[i]
		if o.Live <= 0 && o.LivePageBytes == 0 && o.LiveBufferBytes == 0 {
			continue
		}
		way := codeWay(m, o)
		for _, p := range openPortions(o) {
			p.Role, p.Frames, p.Of = o.Role, way, &Held{Owner: whoOpened(o, false), Container: format.Clean(o.Container),
				Listener: format.Clean(o.Listener), Code: true}
			into := byKey[p.key()]
			if into == nil {
				byKey[p.key()] = p
				continue
			}
			into.Bytes += p.Bytes
			into.Count += p.Count
		}
	}
	return sortedPaths(byKey)
}

// codeWay is the names from the process to the call.
func codeWay(m *recording.Machine, o *recording.Opener) []string {
	way := []string{whoOpened(o, false)}
	for _, f := range framesOf(m, o) {
		way = append(way, f.Name)
	}
	if len(way) == 1 && kindWords(o) != way[0] {
		way = append(way, "["+kindWords(o)+"]")
	}
	if call := callOf(o); call != "" {
		way = append(way, call)
	}
	return way
}

// openPortions are the bytes of what is still open by object, and by queue. The object that a socket is has the number of sockets.
func openPortions(o *recording.Opener) []*Path {
	var list []*Path
	left := o.LivePageBytes
	add := func(objectType, cache string, bytes uint64) {
		if bytes > 0 {
			list = append(list, &Path{Type: objectType, Cache: cache, Bytes: bytes})
		}
	}
	for _, row := range o.Objects {
		bytes := min(row.PageBytes, left)
		left -= bytes
		add(format.Clean(row.Type), format.Clean(row.Cache), bytes)
	}
	rest := "objects"
	if len(list) > 0 {
		rest = "other objects"
	}
	add(rest, "", left)
	rx := min(o.LiveRxBytes, o.LiveBufferBytes)
	tx := min(o.LiveTxBytes, o.LiveBufferBytes-rx)
	add(receiveQueue, "", rx)
	add(sendQueue, "", tx)
	if rest = otherQueued; rx+tx == 0 {
		rest = "queued data"
	}
	add(rest, "", o.LiveBufferBytes-rx-tx)
	if len(list) == 0 {
		list = []*Path{{Type: "nothing"}}
	}
	socketOf(list).Count = uint64(max(o.Live, 0))
	return list
}

// CodeSample is one opener as a profile of a program has it. Names are safe to print.
type CodeSample struct {
	Frames                     []Frame // root first
	Words                      string  // in the place of frames that are not known
	PIDs                       []int
	Comm, Role, Container      string
	Kind                       string
	Listener, Service          string // Service: where all that is still open goes to
	Live, Opened, Failed       int
	Bytes                      uint64
	OldLive, OldOpened, OldBad int
	OldBytes                   uint64
}

// CodeSamples are the openers of a record, nil of any other recording.
func (r *Report) CodeSamples() []*CodeSample {
	m := recordIn(r.Recording)
	if m == nil {
		return nil
	}
	list := make([]*CodeSample, 0, len(m.Openers))
	for i := range m.Openers {
		list = append(list, codeSample(m, &m.Openers[i]))
	}
	return list
}

func codeSample(m *recording.Machine, o *recording.Opener) *CodeSample {
	s := &CodeSample{Frames: framesOf(m, o), PIDs: o.PIDs, Comm: format.Clean(o.Comm), Role: o.Role.String(), Kind: format.Clean(string(o.Kind)),
		Container: format.Clean(o.Container), Listener: format.Clean(o.Listener), Live: max(o.Live, 0), Opened: max(o.Opened, 0),
		Failed: max(o.Failed, 0), Bytes: o.LivePageBytes + min(o.LiveBufferBytes, math.MaxUint64-o.LivePageBytes)}
	if len(s.PIDs) == 0 && o.PID > 0 {
		s.PIDs = []int{o.PID}
	}
	if o.Kind == recording.OpenerBefore || o.Kind == recording.OpenerUnseen || o.Kind == recording.OpenerOther {
		s.Role = ""
	}
	if len(s.Frames) == 0 {
		s.Words = kindWords(o)
	}
	if len(o.Peers) == 1 && o.Peers[0].Count >= o.Live && callOf(o) == "connect()" {
		s.Service = format.Clean(o.Peers[0].Peer)
	}
	return s
}

// CodeSamples are the openers of both records, with what the older had of each; nil where not both are records.
func (d *Diff) CodeSamples() []*CodeSample {
	was, is := recordIn(d.Older.Recording), recordIn(d.Newer.Recording)
	if was == nil || is == nil {
		return nil
	}
	at := map[string]*CodeSample{}
	var list []*CodeSample
	find := func(m *recording.Machine, o *recording.Opener) *CodeSample {
		key := openerKey(m, o)
		if at[key] == nil {
			s := codeSample(m, o)
			s.PIDs, s.Live, s.Opened, s.Failed, s.Bytes = nil, 0, 0, 0, 0
			at[key] = s
			list = append(list, s)
		}
		return at[key]
	}
	for i := range is.Openers {
		s, v := find(is, &is.Openers[i]), codeSample(is, &is.Openers[i])
		s.Live, s.Opened, s.Failed, s.Bytes = added(s.Live, v.Live), added(s.Opened, v.Opened), added(s.Failed, v.Failed), s.Bytes+v.Bytes
	}
	for i := range was.Openers {
		s, v := find(was, &was.Openers[i]), codeSample(was, &was.Openers[i])
		s.OldLive, s.OldOpened, s.OldBad, s.OldBytes = added(s.OldLive, v.Live), added(s.OldOpened, v.Opened), added(s.OldBad, v.Failed), s.OldBytes+v.Bytes
	}
	return slices.Clip(list)
}
