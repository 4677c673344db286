package agent

import (
	"testing"

	"aloft/value"
)

// Of copies that all refer to one of them, that one knows that it is meant.
func TestReferenceToTheComponentItself(t *testing.T) {
	to := func(names ...string) *value.Reference {
		r := &value.Reference{Lazy: true, Parts: []value.Part{{Kind: value.PartRoot}}}
		for _, n := range names {
			r.Parts = append(r.Parts, value.Part{Kind: value.PartHere, Name: n})
		}
		return r
	}
	data := to("db1", "mysql")
	data.Data = true
	c := &held{path: "db1:mysql"}
	for _, x := range []struct {
		v    value.Value
		want bool
	}{
		{to("db1", "mysql"), true},
		{to("db2", "mysql"), false},
		{to("db1"), false},
		{to("db1", "mysql", "port"), false},
		{data, false},
		{value.String("db1:mysql"), false},
	} {
		if got := c.leadsToItself(x.v); got != x.want {
			t.Errorf("%v: %t", x.v, got)
		}
	}
}
