package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/connprof/connprof/internal/checkreport"
	"github.com/connprof/connprof/internal/recording"
)

// fieldsOf calls found with the JSON name of each field in a type and all that it is made of.
func fieldsOf(typ reflect.Type, seen map[reflect.Type]bool, found func(string)) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		fieldsOf(typ.Elem(), seen, found)
		return
	case reflect.Struct:
	default:
		return
	}
	if seen[typ] {
		return
	}
	seen[typ] = true
	for i := range typ.NumField() {
		field := typ.Field(i)
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
			found(name)
		}
		fieldsOf(field.Type, seen, found)
	}
}

func TestThePagesNameEveryFieldThatScriptsGet(t *testing.T) {
	for _, c := range []struct {
		page  string
		typ   reflect.Type
		least int
	}{
		{"../../docs/reference/recording.md", reflect.TypeFor[recording.Recording](), 100},
		{"../../docs/reference/check-json.md", reflect.TypeFor[checkreport.Document](), 30},
	} {
		page, err := os.ReadFile(c.page)
		if err != nil {
			t.Fatal(err)
		}
		names := 0
		fieldsOf(c.typ, map[reflect.Type]bool{}, func(name string) {
			names++
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("%s does not name %s of %v", c.page, name, c.typ)
			}
		})
		if names < c.least {
			t.Errorf("%d fields of %v were looked for: some are not reached", names, c.typ)
		}
	}
}
