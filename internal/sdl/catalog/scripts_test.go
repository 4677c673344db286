package catalog_test

import (
	"strings"
	"testing"

	"aloft/component"
	"aloft/internal/sdl/catalog"
	"aloft/value"
)

// scripted is a component of a folder of executables, with what describe says.
func scripted(said string, executables ...string) *value.Component {
	files := value.Vector{}
	for _, name := range executables {
		path, mode, found := strings.Cut(name, " ")
		if !found {
			mode = "0755"
		}
		files = append(files, value.NewComponent(true, value.Attr{Name: "path", Value: value.String(path)}, value.Attr{Name: "mode", Value: value.String(mode)}))
	}
	shipped := value.NewComponent(true, value.Attr{Name: "files", Value: files})
	if said != "" {
		shipped.Set(value.Attr{Name: catalog.DescribeScript, Value: value.String(said)})
	}
	return value.NewComponent(false, value.Attr{Name: catalog.ScriptsAttr, Value: shipped})
}

func TestDescribeGivesTheClass(t *testing.T) {
	class := catalog.ScriptClass("script:dir", scripted(`{
	  "attributes": [
	    {"name": "port", "type": "integer", "default": 80, "minimum": 1, "maximum": 65535, "unit": "", "description": "where it listens"},
	    {"name": "mode", "type": "string", "required": true, "values": ["fast", "safe"]},
	    {"name": "keys", "type": "vector", "elements": "string"}
	  ],
	  "outputs": [{"name": "uri", "description": "where it answers"}, {"name": "size", "type": "long"}],
	  "unchangeable": ["port"], "secret": ["password", "port"], "reconfigure": false
	}`, "deploy", "terminate", "reconfigure"))
	secret := value.Secret{Name: "shop/db"}.Value()
	if p := class.Check(value.NewComponent(false, value.Attr{Name: "password", Value: secret}), component.Target{}); len(p) > 0 {
		t.Errorf("a secret where describe says so: %v", p)
	}
	if p := class.Check(value.NewComponent(false, value.Attr{Name: "mode", Value: secret}), component.Target{}); len(p) != 1 || p[0].Attr != "mode" {
		t.Errorf("a secret that would be in the environment: %v", p)
	}
	if class.Reconfigures || class.OpenOutputs || len(class.Outputs) != 2 || class.Outputs[1].Kind != value.KindLong {
		t.Errorf("%+v", class)
	}
	port, _ := class.Attribute("port")
	if password, _ := class.Attribute("password"); !password.Secret || password.Fixed || !port.Fixed || !port.Secret {
		t.Errorf("%+v %+v", port, password)
	}
	for name, tt := range map[string]struct {
		v     value.Value
		wrong bool
	}{
		"port": {value.Integer(0), true}, "mode": {nil, true}, "keys": {value.Vector{value.Integer(1)}, true},
	} {
		if p := class.Schema.Wrong(name, tt.v); (p != nil) != tt.wrong {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if class.Schema.Wrong("mode", value.String("safe")) != nil || !value.Equal(class.Schema.Default("port"), value.Integer(80)) {
		t.Error("what is right is refused")
	}
	if silent := catalog.ScriptClass("script:dir", scripted("", "deploy", "terminate")); len(silent.Check(value.NewComponent(false), component.Target{})) > 0 || silent.Reconfigures || !silent.OpenOutputs {
		t.Errorf("%+v", silent)
	}
}

func TestWhatDescribeSaysWronglyIsRefusedWhilePlanning(t *testing.T) {
	for said, want := range map[string]string{
		`{`:                                     "unexpected EOF",
		`{} {}`:                                 "more than one",
		`{"output": []}`:                        `unknown field "output"`,
		`{"attributes": [{"name": "a b"}]}`:     "no name of an attribute",
		`{"attributes": [{"name": "sfClass"}]}`: "no name of an attribute",
		`{"attributes": [{"name": "a", "type": "int"}]}`:                  `unknown type "int"`,
		`{"attributes": [{"name": "a", "type": "string", "default": 1}]}`: "the default",
		`{"attributes": [{"name": "a", "minimum": "x"}]}`:                 "are numbers",
		`{"attributes": [{"name": "a", "values": 1}]}`:                    "no list",
		`{"outputs": [{"name": "a", "type": "x"}]}`:                       `unknown type "x"`,
		`{"outputs": [{"name": "a"}, {"name": "a"}]}`:                     "no name of an output",
	} {
		class := catalog.ScriptClass("script:dir", scripted(said, "deploy", "terminate"))
		if !strings.Contains(class.Check(nil, component.Target{})[0].Message, want) {
			t.Errorf("%s is let through, or refused for something else", said)
		}
	}
	for name, tt := range map[string]struct {
		attrs *value.Component
		want  string
	}{
		"not sent":       {value.NewComponent(false), "was not sent along"},
		"no deploy":      {scripted("", "terminate"), "no executable deploy"},
		"not executable": {scripted("", "deploy 0644", "terminate"), "no executable deploy"},
	} {
		class := catalog.ScriptClass("script:dir", tt.attrs)
		if !strings.Contains(class.Check(nil, component.Target{})[0].Message, tt.want) {
			t.Errorf("%s: let through, or refused for something else", name)
		}
	}
}

// What describe prints comes from anybody's folder. A class that comes of it
// can be asked everything.
func FuzzScriptClass(f *testing.F) {
	f.Add(`{"attributes":[{"name":"a","type":"integer","default":1,"values":[1,2]}],"outputs":[{"name":"b"}],"unchangeable":["a"]}`)
	f.Add(`{"attributes":[{"name":"a","type":"vector","elements":"string","default":[1]}],"reconfigure":null}`)
	f.Add(`{"attributes":[{"name":"a","minimum":{"$long":1}}]}`)
	f.Fuzz(func(t *testing.T, said string) {
		class := catalog.ScriptClass("script:dir", scripted(said, "deploy", "terminate"))
		if p := class.Check(value.NewComponent(false), component.Target{}); len(p) > 0 {
			if p[0].Message == "" {
				t.Error("it is refused without a reason")
			}
			return
		}
		if class.Schema == nil {
			return
		}
		for _, name := range class.Schema.Names() {
			for _, v := range []value.Value{nil, value.Integer(1), value.String("x"), value.Vector{value.Integer(1)}} {
				class.Schema.Wrong(name, v)
			}
			if v := class.Schema.Default(name); v != nil && class.Schema.Wrong(name, v) != nil {
				t.Errorf("the default of %s is wrong", name)
			}
		}
	})
}
