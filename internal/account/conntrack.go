package account

import "github.com/connprof/connprof/internal/kernel"

// tracked tells whether an endpoint in a state is one of a connection, which has an entry of connection tracking.
func tracked(s kernel.State) bool { return s != kernel.StateListen && s != kernel.StateClose }

// track divides the entries of connection tracking among the endpoints of connections. Both ends of one on this host share an entry;
// where one end is gone, as in TIME_WAIT, the other has all of it. Extensions is how many of the entries have some, 0 to 1.
func (ts *tallies) track(entries int, extensions float64) {
	ends := 0
	for key, t := range ts.byKey {
		if tracked(key.state) {
			ends += t.count
		}
	}
	if entries <= 0 || ends == 0 {
		return
	}
	each := float64(entries) / float64(ends)
	for key, t := range ts.byKey {
		if !tracked(key.state) {
			continue
		}
		t.split[kernel.NFConn] += each * float64(t.count)
		t.split[kernel.NFConnExt] += each * extensions * float64(t.count)
	}
}

// extensions is how many of the entries that were allocated got an object for extensions, by the call sites, 0 to 1.
func extensions(ev Evidence) float64 {
	sites := ev.Sites
	if ev.Batch != nil {
		sites = ev.Batch.Sites
	}
	return extended(sites, ev.Caches, ev.Symbols)
}

func extended(sites []kernel.Site, caches *Caches, symbols *kernel.Symbols) float64 {
	entries, with := 0.0, 0.0
	for _, s := range sites {
		if s.Free {
			continue
		}
		switch kind, ok := caches.TypeOf(symbols.Function(s.CallSite), s); {
		case !ok:
		case kind == kernel.NFConn:
			entries += float64(s.Count)
		case kind == kernel.NFConnExt:
			with += float64(s.Count)
		}
	}
	if entries == 0 {
		return 0
	}
	return min(with/entries, 1)
}
