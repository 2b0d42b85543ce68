package account

import (
	"testing"

	"github.com/connprof/connprof/internal/kernel"
	"github.com/connprof/connprof/internal/recording"
)

// withBucket gives the endpoint a bind bucket; one that others use as well unless it is sole.
func withBucket(e *kernel.Endpoint, address uint64, sole bool) *kernel.Endpoint {
	e.Objects[kernel.BindBucket], e.Bind, e.BindSole = 1, address, sole
	return e
}

func withBucket2(e *kernel.Endpoint, address uint64, sole bool) *kernel.Endpoint {
	e.Objects[kernel.Bind2Bucket], e.Bind2, e.Bind2Sole = 1, address, sole
	return e
}

func inState(e *kernel.Endpoint, s kernel.State) *kernel.Endpoint { e.State = s; return e }

// bucketPages is what one bind bucket occupies.
func bucketPages() uint64 { return page / 32 }

func checkBuckets(t *testing.T, r *recording.Machine, role kernel.Role, state string, count int, pages uint64) {
	t.Helper()
	o := objectOf(rowOf(t, r, role, state), kernel.BindBucket)
	if o.Count != count || o.PageBytes != pages {
		t.Errorf("%s %s: %d buckets of %d page bytes, want %d of %d", role, state, o.Count, o.PageBytes, count, pages)
	}
}

func TestABucketSharedWithinARoleCountsOnce(t *testing.T) {
	var endpoints []*kernel.Endpoint
	for i := range 300 { // three addresses use each port
		endpoints = append(endpoints, withBucket(client(i), uint64(1+i/3), false))
	}
	checkBuckets(t, filled(testCaches(), endpoints...), kernel.RoleClient, "ESTABLISHED", 100, 100*bucketPages())
}

func TestASoleBucketCountsOneEach(t *testing.T) {
	var endpoints []*kernel.Endpoint
	for i := range 7 {
		endpoints = append(endpoints, withBucket2(withBucket(client(i), 0, true), 0, true)) // addresses do not matter
	}
	r := filled(testCaches(), endpoints...)
	checkBuckets(t, r, kernel.RoleClient, "ESTABLISHED", 7, 7*bucketPages())
	if o := objectOf(rowOf(t, r, kernel.RoleClient, "ESTABLISHED"), kernel.Bind2Bucket); o.Count != 7 {
		t.Errorf("%d inet_bind2_buckets, want 7", o.Count)
	}
}

func TestABucketWhoseOtherUsersAreElsewhereIsWhole(t *testing.T) {
	r := filled(testCaches(), withBucket(client(1), 0xb0, false))
	checkBuckets(t, r, kernel.RoleClient, "ESTABLISHED", 1, bucketPages())
}

func TestABucketSharedBetweenRolesIsSplitInProportion(t *testing.T) {
	r := filled(testCaches(), listener(), withBucket(client(1), 0xb0, false), withBucket(server(2), 0xb0, false),
		withBucket(server(3), 0xb0, false), withBucket(server(4), 0xb0, false))
	checkBuckets(t, r, kernel.RoleClient, "ESTABLISHED", 0, bucketPages()/4)
	checkBuckets(t, r, kernel.RoleServer, "ESTABLISHED", 1, bucketPages()*3/4)
}

func TestABucketSharedAcrossStatesIsSplitInProportion(t *testing.T) {
	r := filled(testCaches(), withBucket(client(1), 0xb0, false),
		withBucket(inState(client(2), kernel.StateTimeWait), 0xb0, false))
	checkBuckets(t, r, kernel.RoleClient, "ESTABLISHED", 1, bucketPages()/2)
	checkBuckets(t, r, kernel.RoleClient, "TIME_WAIT", 1, bucketPages()/2)
}

func TestBucketsOfBothKindsAtOneAddressStayApart(t *testing.T) {
	// The kernel never does that, but neither kind may hide the other.
	r := filled(testCaches(), withBucket2(withBucket(client(1), 0xb0, false), 0xb0, false),
		withBucket2(withBucket(client(2), 0xb0, false), 0xb1, false))
	row := rowOf(t, r, kernel.RoleClient, "ESTABLISHED")
	if n, n2 := objectOf(row, kernel.BindBucket).Count, objectOf(row, kernel.Bind2Bucket).Count; n != 1 || n2 != 2 {
		t.Errorf("%d and %d buckets, want 1 and 2", n, n2)
	}
}

// However buckets are shared, the rows together hold each of them once.
func TestSharedBucketsAddUpToTheBucketsThereAre(t *testing.T) {
	const buckets = 64
	endpoints := []*kernel.Endpoint{listener()}
	for i := range 1000 {
		e := client(i)
		if i%3 == 0 {
			e = server(i)
		}
		if i%5 == 0 {
			e.State = kernel.StateTimeWait
		}
		endpoints = append(endpoints, withBucket(e, uint64(1+i*i%97%buckets), false))
	}
	used := map[uint64]bool{}
	for _, e := range endpoints[1:] {
		used[e.Bind] = true
	}
	r := filled(testCaches(), endpoints...)
	_, clientPages := groupTotals(r.Endpoints, kernel.RoleClient, kernel.BindBucket.String())
	_, serverPages := groupTotals(r.Endpoints, kernel.RoleServer, kernel.BindBucket.String())
	got, want := int64(clientPages+serverPages), int64(len(used))*int64(bucketPages())
	if diff := got - want; diff < -4 || diff > 4 { // each of the four rows is rounded to a byte
		t.Errorf("%d page bytes in all, want %d for %d buckets", got, want, len(used))
	}
}
