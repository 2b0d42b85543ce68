package account

import (
	"cmp"
	"math"
	"slices"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// Snapshot is what the kernel says of its slab memory at one moment.
type Snapshot struct {
	SlabBytes uint64 // Slab in /proc/meminfo
	Slabs     map[string]kernel.Slab
}

// Evidence is what the ledger is closed with.
type Evidence struct {
	Before, After Snapshot
	Caches        *Caches
	// Sites were counted between Before and After, by the batch or, where there is none, by the whole run.
	Sites []kernel.Site
	// Batch is nil where every allocation of the run was traced.
	Batch *Batch
	// ScenarioSites were counted while the connections were brought into their scenario.
	ScenarioSites []kernel.Site
	Symbols       *kernel.Symbols
	// SampleInterval is the mean number of allocations for each sampled stack.
	SampleInterval int
	// OtherServes says that the accepting end is a program which does more than that.
	OtherServes bool
	// ClientOpens and ServerOpens are how many endpoints became ESTABLISHED, by the state changes.
	ClientOpens, ServerOpens int
	// OthersBefore and OthersAfter are the endpoints that are not measured, at the moments of Before and After; nil where they were
	// not counted.
	OthersBefore, OthersAfter *Others
	// Tracked is how many entries connection tracking had for the measured endpoints.
	Tracked int
}

// FillWalk writes what the walk alone tells into a machine's part of a recording: the endpoints, their groups, and the
// costliest of them.
func (l *Ledger) FillWalk(r *recording.Machine, caches *Caches) {
	rows := l.walk.whole.rows(caches)
	r.Endpoints = endpointRows(rows)
	r.Groups = l.walk.groupRows(rows, caches)
	r.Top = l.walk.top.list(l.walk.several())
}

// Fill closes the ledger: it writes the account of a run into a machine's part of a recording, FillWalk's among it.
func (l *Ledger) Fill(r *recording.Machine, ev Evidence) {
	r.Trace, r.Sampling = &recording.Trace{}, &recording.Sampling{Interval: ev.SampleInterval}
	l.walk.whole.track(ev.Tracked, extensions(ev))
	l.FillWalk(r, ev.Caches)
	r.Addresses = l.walk.addressRows()
	r.ClientPorts = l.walk.clientPorts()
	paths, samples := l.samples.resolve(ev.Caches, ev.Symbols, l.arranging.Load())
	r.Stacks = scaledStacks(r.Endpoints, paths)
	r.Sampling.Samples = samples
	r.Sampling.ErrorRatio, r.Sampling.SymbolisedRatio = stackQuality(r.Stacks)
	reconciled := reconcile(r.Endpoints, endpointRows(l.walk.standing.rows(ev.Caches)), ev.Before, ev.After, ev.Caches.vectorOf,
		othersGrown(ev.OthersBefore, ev.OthersAfter, ev.Caches))
	r.Reconcile = &reconciled
	r.Trace.ClientOpens, r.Trace.ServerOpens = ev.ClientOpens, ev.ServerOpens
	r.Trace.Closes = l.Closes()
	r.Trace.CallSites = callSites(ev.Sites, ev)
	r.Trace.ScenarioCallSites = callSites(ev.ScenarioSites, ev)
	if b := ev.Batch; b != nil {
		r.Trace.BatchConnections = b.Connections
		r.Trace.CallSites = callSites(b.Sites, ev)
		r.Trace.Types = b.types(ev)
		return
	}
	r.Trace.Types = l.typeRows(r.Endpoints, ev)
}

// noteworthy is the growth in slab pages from which a cache that holds nothing of the account is listed.
const noteworthy = 64 << 10

// reconcile holds the account, and what became of the host's other endpoints, against what the kernel says. Standing are those of
// the endpoints that were there before: they made nothing grow. vectorOf names the cache of a cache's slabobj_ext vectors.
func reconcile(rows, standing []recording.EndpointRow, before, after Snapshot, vectorOf func(string) string,
	others grownOthers) recording.Reconcile {
	rec := recording.Reconcile{SlabDeltaBytes: int64(after.SlabBytes) - int64(before.SlabBytes), Caches: []recording.CacheRow{}}
	objects, pages := map[string]int64{}, map[string]int64{}
	for _, r := range rows {
		rec.AccountedPageBytes += int64(r.PageBytes)
		for _, o := range r.Objects {
			objects[o.Cache] += int64(o.Count)
			pages[o.Cache] += int64(o.PageBytes)
		}
	}
	for _, r := range standing {
		rec.StandingBytes += int64(r.PageBytes)
		for _, o := range r.Objects {
			objects[o.Cache] -= int64(o.Count)
			pages[o.Cache] -= int64(o.PageBytes)
		}
	}
	accountedIn := func(name string) bool {
		_, ours := objects[name]
		return ours || others.byCache[name].objects != 0
	}
	vectors := map[string]float64{}
	for name := range after.Slabs {
		if accountedIn(name) {
			addReusedVectors(vectors, name, before, after, vectorOf)
		}
	}
	rec.Others = others.found
	for name, slab := range after.Slabs {
		was := before.Slabs[name]
		c := recording.CacheRow{Cache: name, SlabinfoDeltaObjects: int64(slab.ActiveObjects) - int64(was.ActiveObjects),
			SlabinfoDeltaBytes: int64(slab.PageBytes()) - int64(was.PageBytes()),
			ReusedVectors:      int64(math.Round(vectors[name])), AccountedPageBytes: pages[name],
			ObjectSizeBytes: slab.ObjectBytes, PageBytesEachObject: slab.PageBytesEach()}
		c.AccountedObjects = objects[name] - c.ReusedVectors
		c.OthersObjects, c.OthersPageBytes = others.byCache[name].objects, int64(math.Round(others.byCache[name].pages))
		accounted := accountedIn(name)
		if accounted || vectors[name] != 0 {
			c.ReusedBytes = int64((float64(free(was)-free(slab)) + vectors[name]) * slab.PageBytesEach())
			rec.ReusedBytes += c.ReusedBytes
		}
		if accounted || max(c.SlabinfoDeltaBytes, -c.SlabinfoDeltaBytes) >= noteworthy {
			rec.Caches = append(rec.Caches, c)
		}
	}
	rec.AccountedPageBytes -= rec.ReusedBytes + rec.StandingBytes
	rec.UnexplainedRatio = rec.Ratio()
	slices.SortFunc(rec.Caches, func(a, b recording.CacheRow) int {
		return cmp.Or(cmp.Compare(b.SlabinfoDeltaBytes, a.SlabinfoDeltaBytes), cmp.Compare(a.Cache, b.Cache))
	})
	return rec
}

// addReusedVectors adds up how many of the accounted slabobj_ext vectors, by their cache, were there before: a slab that is
// filled up has brought its vector along, and one that is left half empty keeps it (then the number is negative). vectorOf names the
// cache of a cache's vectors.
func addReusedVectors(vectors map[string]float64, name string, before, after Snapshot, vectorOf func(string) string) {
	was, is := before.Slabs[name], after.Slabs[name]
	if v := vectorOf(name); v != "" && is.ObjectsPerSlab > 0 {
		vectors[v] += float64(free(was)-free(is)) / float64(is.ObjectsPerSlab)
	}
}

// free is how many places of a cache's slabs hold no object.
func free(s kernel.Slab) int64 { return int64(s.Objects) - int64(s.ActiveObjects) }

// callSites names the call sites and adds up what only differs in the task that ran.
func callSites(sites []kernel.Site, ev Evidence) []recording.CallSite {
	type key struct{ function, cache, kind string }
	sums := map[key]*recording.CallSite{}
	for _, s := range sites {
		k := key{function: ev.Symbols.Function(s.CallSite), cache: ev.Caches.SiteCache(s)}
		if t, ok := ev.Caches.TypeOf(k.function, s); ok && !s.Free {
			k.kind = t.String()
		}
		if sums[k] == nil {
			sums[k] = &recording.CallSite{Function: k.function, Cache: k.cache, Type: k.kind}
		}
		if s.Free {
			sums[k].Frees += s.Count
		} else {
			sums[k].Allocs += s.Count
		}
	}
	list := []recording.CallSite{}
	for _, c := range sums {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b recording.CallSite) int {
		return cmp.Or(cmp.Compare(b.Allocs+b.Frees, a.Allocs+a.Frees), cmp.Compare(a.Function, b.Function),
			cmp.Compare(a.Cache, b.Cache), cmp.Compare(a.Type, b.Type))
	})
	return list
}

// typeRows compares the allocations that the trace saw with the objects that the walk found, role by role.
func (l *Ledger) typeRows(rows []recording.EndpointRow, ev Evidence) []recording.TypeRow {
	type key struct {
		role kernel.Role
		kind kernel.ObjectType
	}
	serving := kernel.RoleServer
	if ev.ServerOpens == 0 && onlyListeners(rows) {
		serving = kernel.RoleListener
	}
	allocated := map[key]int{}
	for _, s := range ev.Sites {
		if s.Free {
			continue
		}
		if t, ok := ev.Caches.TypeOf(ev.Symbols.Function(s.CallSite), s); ok {
			role := roleOfSite(t, s)
			if role == kernel.RoleServer {
				role = serving
			}
			allocated[key{role, t}] += int(s.Count)
		}
	}
	if serving == kernel.RoleServer {
		// The accepted end's sock is allocated in softirq context, now and then in that of a kernel thread, which is in
		// no namespace of ours. Its state changes carry its own namespace.
		allocated[key{kernel.RoleServer, kernel.TCPSock}] = ev.ServerOpens
	}
	list := []recording.TypeRow{}
	for _, role := range []kernel.Role{kernel.RoleClient, serving} {
		if l.closed[role] > 0 {
			continue // what was allocated is no longer what there is
		}
		for t := range kernel.Types {
			kind := kernel.ObjectType(t)
			if !comparable(role, kind) || ev.OtherServes && ofOthers(role, kind) {
				continue
			}
			count, _ := groupTotals(rows, role, kind.String())
			// Listeners that were there before the trace are no listeners' allocations that it missed.
			if n := allocated[key{role, kind}]; n > 0 || count > 0 && role != kernel.RoleListener {
				list = append(list, recording.TypeRow{Role: role, Type: kind.String(), Trace: n, Walk: count})
			}
		}
	}
	return list
}

// onlyListeners tells whether listeners are all there is: a server's tasks have allocated for them, not for accepted ends.
func onlyListeners(rows []recording.EndpointRow) bool {
	return !slices.ContainsFunc(rows, func(r recording.EndpointRow) bool { return r.Role != kernel.RoleListener })
}

// comparable leaves out what an allocation does not stand for one to one: objects that come and go with every packet,
// vectors shared by a slab's objects, the accepted ends' bind buckets, which are their listener's, and what is made for
// them in softirq context.
func comparable(role kernel.Role, kind kernel.ObjectType) bool {
	switch kind {
	case kernel.RequestSock, kernel.TimewaitSock, kernel.SlabObjExt, kernel.SKBuff, kernel.SKBuffFclones, kernel.SKBHead,
		kernel.NFConn, kernel.NFConnExt:
		return false
	case kernel.BindBucket, kernel.Bind2Bucket, kernel.LSMSock:
		return role == kernel.RoleClient
	}
	return true
}

// ofOthers tells whether allocations are also made for what is no connection where the server is a program of somebody else's:
// all that its tasks make, and the bucket that a listener on all addresses needs for the one that it is reached at.
func ofOthers(role kernel.Role, kind kernel.ObjectType) bool {
	return role == kernel.RoleServer && kind != kernel.TCPSock || kind == kernel.Bind2Bucket
}

func roleOfSite(t kernel.ObjectType, s kernel.Site) kernel.Role {
	if kernel.Types[t].FromSoftirq && s.Atomic {
		return kernel.RoleServer
	}
	return s.Role
}
