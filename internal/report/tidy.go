package report

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/connprof/connprof/internal/format"
	"github.com/connprof/connprof/internal/recording"
)

const (
	mostName  = 500  // characters of any text
	mostLines = 1000 // of any list that is not folded
)

// longLists are those that are not shown line by line: fold sees to some, and of the others figures are made.
var longLists = map[string]bool{"endpoints": true, "groups": true, "stacks": true, "frames": true, "timeline": true, "addresses": true,
	"openers": true, "locations": true}

// tidy is a copy of a recording that may be shown: not more than a reader or another program can take, and no text that
// drives a terminal or breaks a line. It is the one place for both. A recording may come from anybody, and the names in it
// are those of processes, containers and functions, which anybody can choose.
func tidy(r *recording.Recording) *recording.Recording {
	whole := *r
	whole.Machines = nil
	var all tidier
	shown := all.copy(reflect.ValueOf(&whole)).Interface().(*recording.Recording)
	for _, m := range r.Machines {
		folded, said := fold(m)
		t := tidier{said: said}
		tidied := t.copy(reflect.ValueOf(folded)).Interface().(*recording.Machine)
		tidied.Notes = append(tidied.Notes, t.said...)
		shown.Machines = append(shown.Machines, tidied)
	}
	return shown
}

// tidier copies values. It goes by their types, so that a field that is added to the recording is not forgotten.
type tidier struct{ said []string }

func (t *tidier) copy(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	switch {
	case plain(v.Type()):
		return v
	case v.Kind() == reflect.String:
		c.SetString(format.Clean(format.Shorten(v.String(), mostName)))
	case v.Kind() == reflect.Struct:
		t.fields(c, v)
	case v.IsNil():
	case v.Kind() == reflect.Pointer:
		c.Set(reflect.New(v.Type().Elem()))
		c.Elem().Set(t.copy(v.Elem()))
	case v.Kind() == reflect.Slice:
		c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			c.Index(i).Set(t.copy(v.Index(i)))
		}
	case v.Kind() == reflect.Map:
		c.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for _, key := range v.MapKeys() {
			c.SetMapIndex(t.copy(key), t.copy(v.MapIndex(key)))
		}
	default:
		panic(fmt.Sprintf("report: a recording has no %v", v.Type()))
	}
	return c
}

// fields copies the fields of a struct, of long lists the first lines.
func (t *tidier) fields(c, v reflect.Value) {
	for i := range v.NumField() {
		field := v.Field(i)
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if field.Kind() == reflect.Slice && field.Len() > mostLines && !longLists[name] {
			t.said = append(t.said, fmt.Sprintf("this report shows the first %s of %s in %q and leaves out the others",
				format.Count(mostLines), format.Count(field.Len()), name))
			field = field.Slice(0, mostLines)
		}
		c.Field(i).Set(t.copy(field))
	}
}

// plain is whether a type has no text in it.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return false
	case reflect.Struct:
		return t.PkgPath() == "time"
	}
	return true
}
