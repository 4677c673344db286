package configfile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"aloft/component"
	"aloft/value"
)

// format reads and changes keys of a configuration file's text. set and remove
// leave everything else as it is: order, comments, spacing. A document without
// a byte is an empty one. Values are strings unless the format has types.
type format interface {
	get(doc []byte, key string) (v any, ok bool, err error)
	set(doc []byte, key string, v any) ([]byte, error)
	remove(doc []byte, key string) ([]byte, error)
}

var formats = map[string]format{
	"ini": ini{}, "properties": properties{}, "json": jsonFormat{}, "yaml": yamlFormat{}, "xml": xmlFormat{},
}

// typed reports whether values of the format have kinds of their own.
func typed(name string) bool { return name == "json" || name == "yaml" }

// plain turns a value into what the format takes.
func plain(v value.Value, types bool) (any, error) {
	if !types {
		return component.Text(v)
	}
	switch v := v.(type) {
	case value.Null:
		return nil, nil
	case value.String:
		return string(v), nil
	case value.Bool:
		return bool(v), nil
	case value.Integer:
		return int64(v), nil
	case value.Long:
		return int64(v), nil
	case value.Float:
		return float64(v), nil
	case value.Double:
		return float64(v), nil
	case value.Vector:
		list := make([]any, len(v))
		for i, e := range v {
			x, err := plain(e, types)
			if err != nil {
				return nil, err
			}
			list[i] = x
		}
		return list, nil
	case *value.Component:
		table := map[string]any{}
		for a := range v.All() {
			x, err := plain(a.Value, types)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
			table[a.Name] = x
		}
		return table, nil
	default:
		return nil, fmt.Errorf("a %s has no place in a configuration file", v.Kind())
	}
}

// same compares a value that was read with one that was set.
func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// steps splits a key that is a path.
func steps(key string) ([]string, error) {
	parts := strings.Split(key, ".")
	if slices.Contains(parts, "") {
		return nil, fmt.Errorf("key %q has an empty step", key)
	}
	return parts, nil
}

// lines splits a text so that joining the pieces gives it back.
func lines(doc []byte) []string {
	if len(doc) == 0 {
		return nil
	}
	l := strings.SplitAfter(string(doc), "\n")
	if l[len(l)-1] == "" {
		l = l[:len(l)-1]
	} else {
		l[len(l)-1] += "\n"
	}
	return l
}
