package plan

import (
	"testing"

	"aloft/component"
	"aloft/value"
)

// An attribute that stands for a component around this one refers to the
// nearest that has the output, and only where nothing is given.
func TestWhatIsAroundIsReferredTo(t *testing.T) {
	known := append(classes{{
		Name: "App", Site: component.SiteMachine, OpenAttributes: true,
		Attributes: []component.Attribute{{Name: "container", Whole: true, Around: "uri"}},
	}}, testClasses()...)
	for text, want := range map[string]string{
		`web extends Server { name "w"; apps extends { app extends { sfClass "App"; } } }`:                                                       "LAZY ROOT:vm:web",
		`web extends Server { name "w"; inner extends Server { name "i"; app extends { sfClass "App"; } } }`:                                     "LAZY ROOT:vm:web:inner",
		`web extends Server { name "w"; } app extends { sfClass "App"; container LAZY PARENT:web; }`:                                             "LAZY ROOT:vm:web",
		`web extends Server { name "w"; app extends { sfClass "App"; container LAZY PARENT:PARENT:other; } } other extends Server { name "o"; }`: "LAZY ROOT:vm:other",
		`app extends { sfClass "App"; }`: "",
	} {
		s := Look("shop", tree(t, "around.sf", "sfConfig extends { vm extends VM { "+text+" } }"), known, Host{Hostname: "here"}, false)
		if want == "" {
			if problems := s.Problems.All(); len(problems) != 1 || problems[0].Attribute != "container" || len(problems[0].Hints) != 1 {
				t.Errorf("%s: %+v", text, problems)
			}
			continue
		}
		if s.Problems.Errors() > 0 {
			t.Errorf("%s: %v", text, s.Problems.All())
		}
		for _, c := range s.parts {
			if c.class.Name != "App" {
				continue
			}
			got, _ := c.attrs.Get("container")
			if value.Source(got) != want || len(c.targets["container"]) != 1 {
				t.Errorf("%s: %s, to %v, want %s", text, value.Source(got), c.targets["container"], want)
			}
		}
	}
}
