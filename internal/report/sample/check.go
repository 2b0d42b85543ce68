package sample

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/recording"
)

// Render is what a format writes.
func Render(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Has fails the test unless a text has all the parts, whatever blanks and line ends are between their words.
func Has(t *testing.T, text string, parts ...string) {
	t.Helper()
	squeezed := strings.Join(strings.Fields(text), " ")
	for _, part := range parts {
		if !strings.Contains(squeezed, part) {
			t.Errorf("the text lacks %q:\n%s", part, text)
		}
	}
}

// Broken is a writer that fails.
type Broken struct{}

// Write returns io.ErrShortWrite.
func (Broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// PageBytes sums a recording's page bytes by role and type: what every format of the call paths must add up to.
func PageBytes(r *recording.Recording) map[string]uint64 {
	sums := map[string]uint64{}
	for _, row := range r.Rows() {
		for _, o := range row.Objects {
			sums[row.Role.String()+" "+o.Type] += o.PageBytes
		}
	}
	return sums
}

// SameSums fails the test unless two sums by role and type agree.
func SameSums(t *testing.T, got, want map[string]uint64) {
	t.Helper()
	for key, n := range want {
		if got[key] != n {
			t.Errorf("%s: %d page bytes, the account has %d", key, got[key], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d roles and types, the account has %d", len(got), len(want))
	}
}

// Forge replaces every string in a recording, map keys excepted.
func Forge(r *recording.Recording, s string) { forge(reflect.ValueOf(r), s) }

func forge(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			forge(v.Elem(), s)
		}
	case reflect.String:
		v.SetString(s)
	case reflect.Slice:
		for i := range v.Len() {
			forge(v.Index(i), s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				forge(v.Field(i), s)
			}
		}
	}
}
