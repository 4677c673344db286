package workflow_test

import (
	"strings"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/workflow"
	"aloft/value"
)

func manager(t *testing.T, class string) component.Manager {
	t.Helper()
	for _, m := range workflow.New() {
		if m.Class().Name == class {
			return m
		}
	}
	t.Fatalf("no class %s", class)
	return nil
}

// RT08: an attribute that no course can go by is refused while planning, and in
// deploy where it is known no sooner.
func TestRT08AttributesThatNoCourseCanGoByAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		class, attr string
		v           value.Value
		says        string
	}{
		"less than one run":             {"Retry", "retry", value.Integer(-1), "cannot be tried less than once"},
		"a word for a number":           {"Retry", "retry", value.String("often"), "retry is a string"},
		"a word for a time":             {"Timeout", "time", value.String("20s"), "time is a string"},
		"a fraction of runs":            {"Repeat", "repeat", value.Double(1.5), "repeat is a double"},
		"a word for how long to wait":   {"WaitFor", "timeout", value.String("1"), "timeout is a string"},
		"a word for a switch":           {"Parallel", "asynchCreateChild", value.String("true"), "asynchCreateChild is a string"},
		"no limit":                      {"During", "time", value.Integer(-1), ""},
		"for ever":                      {"Repeat", "repeat", value.Integer(-1), ""},
		"a time of more than 24 days":   {"Delay", "time", value.Long(1 << 32), ""},
		"a switch":                      {"Parallel", "terminateOnEmptyDeploy", value.Bool(true), ""},
		"what others call it elsewhere": {"Sequence", "retry", value.String("ours"), ""},
	} {
		m := manager(t, c.class)
		class, attrs := m.Class(), componenttest.Attrs(c.attr, c.v)
		problems := componenttest.Problems(class, attrs, component.Target{})
		err := m.Deploy(t.Context(), &component.Call{Attrs: attrs, Env: componenttest.NewEnv(t, class)})
		switch {
		case c.says == "":
			if len(problems) > 0 || err != nil {
				t.Errorf("%s: %+v, %v", name, problems, err)
			}
		case len(problems) != 1 || problems[0].Attr != c.attr || !strings.Contains(problems[0].Message, c.says) || problems[0].Remedy == "":
			t.Errorf("%s: while planning %+v, want %q", name, problems, c.says)
		default:
			if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), "attribute "+c.attr+": ") || !strings.Contains(err.Error(), c.says) || remedy == "" {
				t.Errorf("%s: in deploy %v, want %q", name, err, c.says)
			}
		}
	}
}
