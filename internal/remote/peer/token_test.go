package peer

import (
	"strings"
	"testing"
)

// An earlier connprof has made this token. It names the same key for as long as there are tokens.
const earlierToken = "64wfrdoj6klvp24zjpbmkhblpm7dp5x53ajnewvg6idosbvcyan5h3d2lw4ztjfvhskmagfci4gxc"

var aToken = func() token {
	t, err := parseToken(earlierToken)
	if err != nil {
		panic(err)
	}
	return t
}()

func TestEachTokenIsAnother(t *testing.T) {
	a, b := NewToken(), NewToken()
	first, errA := parseToken(a)
	second, errB := parseToken(b)
	if errA != nil || errB != nil || first.secret == second.secret || first.fingerprint == second.fingerprint {
		t.Errorf("tokens %q and %q (%v, %v)", a, b, errA, errB)
	}
	if strings.Trim(a, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("a shell may take offence at %q", a)
	}
}

func TestOnlyAConnprofMakesTokens(t *testing.T) {
	swap := strings.NewReplacer("a", "b", "b", "a").Replace
	for name, text := range map[string]string{"none": "", "a word": "hunter2", "version 1's": "0123456789abcdef0123456789abcdef",
		"as long as one": strings.Repeat("a", len(earlierToken)), "a letter short": earlierToken[:len(earlierToken)-1],
		"a letter long": earlierToken + "a", "two letters exchanged": swap(earlierToken),
		"in capitals": strings.ToUpper(earlierToken), "with a line end": earlierToken + "\n",
		"with bits beyond the end": earlierToken[:len(earlierToken)-1] + "b"} {
		if err := CheckToken(text); err == nil || !strings.Contains(err.Error(), "start connprof serve without one") {
			t.Errorf("%s: %v, want how to get one", name, err)
		}
		if _, err := NewClient(text); err == nil {
			t.Errorf("%s makes a client", name)
		}
		if _, err := NewServer(text); err == nil {
			t.Errorf("%s makes a server", name)
		}
	}
}

// A serve that is given an earlier token is the server which that names; its certificate need not be the same.
func TestATokenAlwaysNamesTheSameServer(t *testing.T) {
	for range 2 {
		if a, b := meet(t, aToken, aToken, Version, Version); a.err != nil || b.err != nil {
			t.Errorf("the ends did not come together: %v, %v", a.err, b.err)
		}
	}
}
