package syntax

import (
	"reflect"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
)

// sameTree reports whether a and b are equal but for positions and comments.
func sameTree(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func same(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() || !a.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Type() {
	case reflect.TypeFor[diag.Span](), reflect.TypeFor[[]Comment]():
		return true
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.Kind() == reflect.Pointer && a.Pointer() == b.Pointer() {
			return true
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Float32, reflect.Float64:
		return a.Float() == b.Float()
	default:
		return a.Interface() == b.Interface()
	}
}

func parse(t *testing.T, src string) (*File, *diag.List) {
	t.Helper()
	var list diag.List
	return Parse("t.sf", []byte(src), &list), &list
}

func messages(list *diag.List, src string) string {
	var b strings.Builder
	_ = diag.WriteText(&b, list, func(string) ([]byte, bool) { return []byte(src), true })
	return b.String()
}
