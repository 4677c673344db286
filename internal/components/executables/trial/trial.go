// Package trial runs the conformance suite of component managers over a folder
// of executables, outside of any test binary. What it starts has ended when it
// returns.
package trial

import (
	"errors"
	"flag"
	"regexp"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/executables"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// manager manages one class of executables.
type manager struct {
	executables.Manager
	class component.Class
}

func (m manager) Class() component.Class { return m.class }

// Case returns the manager of a class of executables, and the suite's case of a
// component that is deployed with the first of attrs and reconfigured to the
// others. sources are what is sent along.
func Case(class string, attrs []*value.Component, sources [][]byte) (componenttest.Factory, componenttest.Case) {
	m := manager{class: catalog.ScriptClass(class, attrs[0])}
	return func(testing.TB) (component.Manager, func()) { return m, func() {} }, componenttest.Case{
		Name: class, Attrs: attrs[0], Changes: attrs[1:], Sources: sources,
		Trusted: []string{"sfClass", catalog.ScriptsAttr}, // the executables themselves
	}
}

// Run runs the suite, tells on standard output how each part of it ended, and
// ends the process: with status 0 where all was well, else 1. Package testing
// knows no other way.
func Run(class string, attrs []*value.Component, sources [][]byte) {
	testing.Init()
	// The arguments were the command line's; these flags are ours to set.
	if err := errors.Join(flag.CommandLine.Parse(nil), flag.Set("test.v", "true"), flag.Set("test.timeout", "10m")); err != nil {
		panic(err) // testing.Init has made them
	}
	testing.Main(regexp.MatchString, []testing.InternalTest{{Name: "component", F: func(t *testing.T) {
		for _, a := range attrs {
			for _, p := range componenttest.Problems(catalog.ScriptClass(class, a), a, component.Target{}) {
				t.Fatal(p.Message)
			}
		}
		factory, c := Case(class, attrs, sources)
		componenttest.Run(t, factory, c)
	}}}, nil, nil)
}
