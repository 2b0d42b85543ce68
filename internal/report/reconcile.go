package report

import (
	"fmt"
	"math"
	"sort"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

// Account is the account of endpoints held against a kernel's own figures.
type Account struct {
	Label  string // whose, empty where there is one machine
	Shared bool   // the account is that of both ends
	Facts  []Fact
	Caches []Cache // in which the two differ, furthest apart first
}

func accountsOf(r *recording.Recording) []Account {
	var accounts []Account
	for _, m := range reconciled(r) {
		accounts = append(accounts, Account{accountOf(r, m), ofBothEnds(r, m.Machine), reconcileFacts(m.Reconcile),
			cachesOf(m.Reconcile)})
	}
	return accounts
}

// tolerated is the unexplained share of slab growth above which a report draws the reader's eye to it.
const tolerated = 0.03

// unexplained is slab growth less what was found; positive when the kernel uses more.
func unexplained(rec *recording.Reconcile) float64 { return float64(rec.Unexplained()) }

// left is what neither the account of endpoints nor that of threads explains.
func left(rec *recording.Reconcile) float64 {
	if rec.Threads != nil {
		return unexplained(rec) - float64(rec.Threads.Bytes)
	}
	return unexplained(rec)
}

// unexplainedShare is what is left as a share of the growth. It is empty of meaning where slab did not grow, and says so.
func unexplainedShare(rec *recording.Reconcile) (share string, warn bool) {
	delta := float64(rec.SlabDeltaBytes)
	if delta <= 0 {
		return format.None, rec.AccountedPageBytes != 0 || delta < 0
	}
	return format.SignedPercent(left(rec), delta), math.Abs(left(rec))/delta > tolerated
}

func reconcileFacts(rec *recording.Reconcile) []Fact {
	share, warn := unexplainedShare(rec)
	rest := format.SignedSize(unexplained(rec))
	if share == format.None {
		rest += ", no share: slab did not grow"
	} else {
		rest += ", " + share + " of the growth"
	}
	made := fmt.Sprintf("%s, page bytes of all endpoints", exactSize(rec.AccountedPageBytes))
	switch {
	case rec.ReusedBytes > 0:
		made += fmt.Sprintf(" less %s in old slabs", format.Size(float64(rec.ReusedBytes)))
	case rec.ReusedBytes < 0:
		made += fmt.Sprintf(" and %s left free", format.Size(float64(-rec.ReusedBytes)))
	}
	if rec.StandingBytes > 0 {
		made += fmt.Sprintf(" less %s that was there before", format.Size(float64(rec.StandingBytes)))
	}
	facts := []Fact{
		{Key: "slab growth", Value: exactSize(rec.SlabDeltaBytes) + ", Slab in /proc/meminfo"},
		{Key: "accounted", Value: made},
	}
	if o := rec.Others; o != nil {
		facts = append(facts, Fact{Key: "others", Value: fmt.Sprintf("%s, of %s other sockets before and %s after, in all network namespaces",
			signedExact(o.PageBytes), format.Count(o.SocketsBefore), format.Count(o.SocketsAfter))})
	}
	if rec.Threads != nil {
		return append(facts, threadFacts(rec)...)
	}
	return append(facts, Fact{Key: "unexplained", Value: rest, Warn: warn})
}

func signedExact(b int64) string {
	return fmt.Sprintf("%s (%s B)", format.SignedSize(float64(b)), format.Signed(b))
}

func exactSize(b int64) string {
	return fmt.Sprintf("%s (%s B)", format.Size(float64(b)), format.Minus(format.Count(b)))
}

// Cache holds one slab cache's growth against the account.
type Cache struct {
	Cache                      string
	GrownObjects, OurObjects   string
	ObjectsDiff                string
	GrownBytes, OurBytes, Diff string
	Apart                      float64 // in bytes, whatever the sign
}

// cachesOf are the caches in which slabinfo and account differ, furthest apart in bytes first.
func cachesOf(rec *recording.Reconcile) []Cache {
	var lines []Cache
	for _, c := range rec.Caches {
		ours := c.AccountedObjects + c.OthersObjects
		objects := c.SlabinfoDeltaObjects - ours
		accounted := float64(c.AccountedPageBytes + c.OthersPageBytes - c.ReusedBytes)
		bytes := float64(c.SlabinfoDeltaBytes) - accounted
		if objects == 0 && bytes == 0 {
			continue
		}
		lines = append(lines, Cache{
			Cache:        format.Clean(c.Cache),
			GrownObjects: format.Signed(c.SlabinfoDeltaObjects),
			OurObjects:   format.Minus(format.Count(ours)),
			ObjectsDiff:  format.Signed(objects),
			GrownBytes:   format.SignedSize(float64(c.SlabinfoDeltaBytes)),
			OurBytes:     format.Size(accounted),
			Diff:         format.SignedSize(bytes),
			Apart:        math.Abs(bytes),
		})
	}
	sort.SliceStable(lines, func(i, j int) bool {
		if lines[i].Apart != lines[j].Apart {
			return lines[i].Apart > lines[j].Apart
		}
		return lines[i].Cache < lines[j].Cache
	})
	return lines
}

// SumApart is how far the caches of some lines are from the account together, whatever the sign.
func SumApart(lines []Cache) float64 {
	sum := 0.0
	for _, line := range lines {
		sum += line.Apart
	}
	return sum
}

// threadFacts divides what the account leaves unexplained into what threads have and the rest.
func threadFacts(rec *recording.Reconcile) []Fact {
	t := rec.Threads
	caches := append([]recording.ThreadCacheGrown(nil), t.Caches...)
	sort.SliceStable(caches, func(i, j int) bool { return caches[i].Bytes > caches[j].Bytes })
	var names []string
	for _, c := range caches {
		if c.Bytes > t.Bytes/100 {
			names = append(names, fmt.Sprintf("%s %s", format.Clean(c.Cache), format.Size(float64(c.Bytes))))
		}
	}
	share, warn := unexplainedShare(rec)
	return []Fact{
		{Key: "unexplained", Value: fmt.Sprintf("%s, %s of the growth, by the account of endpoints",
			format.SignedSize(unexplained(rec)), format.SignedPercent(unexplained(rec), float64(rec.SlabDeltaBytes)))},
		{Key: "threads", Value: fmt.Sprintf("%s of that: %s", format.SignedSize(float64(t.Bytes)), strings.Join(names, ", "))},
		{Key: "left", Value: fmt.Sprintf("%s, %s of the growth", format.SignedSize(left(rec)), share), Warn: warn},
	}
}
