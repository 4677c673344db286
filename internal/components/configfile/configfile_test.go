package configfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aloft/component"
	"aloft/component/componenttest"
	"aloft/internal/components/configfile"
	"aloft/value"
)

var attrs = componenttest.Data

func daemon(testing.TB) (component.Manager, func()) { return configfile.New(), func() {} }

// files are configuration files as other software brings them, and what they
// become; the changes are the same for all.
var files = []struct {
	format, before, after string
	set                   *value.Component
	remove                string
}{
	{
		"ini",
		"; global\n[server]\n# port to use\nport=80\nhost = a\n\n[client]\nport=1\n",
		"; global\n[server]\n# port to use\nport=8080\nnew = x\n\n[client]\nport=1\n\n[extra]\nk = v\n",
		attrs("server.port", value.Integer(8080), "server.new", value.String("x"), "extra.k", value.String("v")), "server.host",
	},
	{
		"properties",
		"# c\na.b = 80 \\\n   two\nhost: a\n! d\nz=1\n",
		"# c\na.b=8080\n! d\nz=1\nnew\\ key=x\\ny\n",
		attrs("a.b", value.Integer(8080), "new key", value.String("x\ny")), "host",
	},
	{
		"json",
		"{\n    \"server\": {\"port\": 80, \"host\": \"a\"},\n    \"list\": [ 1,2 ]\n}\n",
		"{\n    \"server\": {\"port\": 8080,\"tls\": {\"on\":true}},\n    \"list\": [ 1,2 ],\n    \"new\": \"<x>\"\n}\n",
		attrs("server.port", value.Integer(8080), "server.tls.on", value.Bool(true), "new", value.String("<x>")), "server.host",
	},
	{
		"yaml",
		"# top\nserver:\n  port: 80 # the port\n  host: a\nlist:\n  - 1\n",
		"# top\nserver:\n  port: 8080 # the port\n  tls:\n    \"on\": true\nlist:\n  - 1\nnew: x\n",
		attrs("server.port", value.Integer(8080), "server.tls.on", value.Bool(true), "new", value.String("x")), "server.host",
	},
	{
		"xml",
		"<?xml version=\"1.0\"?>\n<!-- c -->\n<server port=\"80\" name='n'>\n  <host>a</host>\n  <limit/>\n</server>\n",
		"<?xml version=\"1.0\"?>\n<!-- c -->\n<server port=\"8080\" name='n'>\n  \n  <limit max=\"5\">&lt;none&gt;</limit>\n<tls><on>true</on></tls></server>\n",
		attrs("server.@port", value.Integer(8080), "server.limit", value.String("<none>"), "server.limit.@max", value.Integer(5), "server.tls.on", value.Bool(true)), "server.host",
	},
}

func TestOnlyNamedKeysChange(t *testing.T) {
	for _, tt := range files {
		t.Run(tt.format, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "conf")
			if err := os.WriteFile(path, []byte(tt.before), 0o640); err != nil {
				t.Fatal(err)
			}
			a := attrs("path", value.String(path), "format", value.String(tt.format), "set", tt.set, "remove", value.Vector{value.String(tt.remove)})
			m := configfile.New()
			c := &component.Call{Attrs: a, WorkDir: t.TempDir(), Machine: component.Machine{Folder: folder}, Env: componenttest.NewEnv(t, m.Class())}
			for range 2 {
				if err := m.Deploy(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				got, _ := os.ReadFile(path)
				if string(got) != tt.after {
					t.Errorf("got\n%s\nwant\n%s", got, tt.after)
				}
				if err := m.Ping(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
			// What is no longer named has its first value again.
			c.Old, c.Attrs = a, attrs("path", value.String(path), "format", value.String(tt.format), "set", attrs(tt.remove, value.String("b")))
			if err := m.Reconfigure(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			got, _ := os.ReadFile(path)
			if strings.Contains(string(got), "8080") || !strings.Contains(string(got), "80") {
				t.Errorf("after the change:\n%s", got)
			}
			if err := m.Ping(t.Context(), c); err != nil {
				t.Error(err)
			}
			if err := m.Terminate(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			got, _ = os.ReadFile(path)
			if st, _ := os.Stat(path); string(got) != tt.before || st.Mode() != 0o640 {
				t.Errorf("not restored: %s\n%s", st.Mode(), got)
			}
		})
	}
}

func TestSuite(t *testing.T) {
	folder := t.TempDir()
	path := value.String(filepath.Join(folder, "conf"))
	var cases []componenttest.Case
	for _, tt := range files {
		with := func(more ...any) *value.Component {
			a := attrs("path", path, "format", value.String(tt.format))
			for v := range attrs(more...).All() {
				a.Set(v)
			}
			return a
		}
		cases = append(cases, componenttest.Case{
			Name:    tt.format,
			Machine: component.Machine{Folder: folder},
			Attrs:   with("set", tt.set),
			Changes: []*value.Component{with("set", tt.set, "remove", value.Vector{value.String(tt.remove)}), with("set", attrs(tt.remove, value.String("b")))},
			Prepare: func(t testing.TB, c *component.Call) {
				if err := os.WriteFile(string(path), []byte(tt.before), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			Break: func(t testing.TB, c *component.Call) { os.WriteFile(string(path), []byte(tt.before), 0o600) },
		})
	}
	cases = append(cases, componenttest.Case{
		Name:    "template, where no file was",
		Machine: component.Machine{Folder: folder},
		Attrs: attrs("path", value.String(filepath.Join(folder, "a", "t")), "format", value.String("template"),
			"template", value.String("listen {{.port}};{{range .hosts}} {{.}}{{end}}\n"),
			"values", attrs("port", value.Integer(80), "hosts", value.Vector{value.String("a"), value.String("b")})),
		Changes: []*value.Component{attrs("path", value.String(filepath.Join(folder, "a", "t")), "format", value.String("template"),
			"template", value.String("listen {{.port}};\n"), "values", attrs("port", value.Integer(81)))},
		Check: func(t testing.TB, c *component.Call) {
			want := "listen 80; a b\n"
			if c.Old != nil && c.Old != c.Attrs {
				want = "listen 81;\n"
			}
			if got, _ := os.ReadFile(filepath.Join(folder, "a", "t")); string(got) != want {
				t.Errorf("%q, want %q", got, want)
			}
		},
		Break: func(t testing.TB, c *component.Call) { os.Remove(filepath.Join(folder, "a", "t")) },
	})
	componenttest.Run(t, daemon, cases...)
}

// A template that names what values does not have says which, where, and what to
// do, and leaves no file.
func TestAMissingValueIsAnError(t *testing.T) {
	some := attrs("port", value.Integer(80), "db", attrs("host", value.String("h")))
	some.Data = true
	for template, c := range map[string]struct {
		values       *value.Component
		says, remedy string
	}{
		"listen\n{{.port}}":        {nil, "line 2: values has no port, which {{.port}} names", "values extends DATA { port "},
		"listen {{.prot}}":         {some, "line 1: values has no prot, which {{.prot}} names", "did you mean {{.port}}?"},
		"{{.db.hots}}":             {some, "values has no hots, which {{.db.hots}} names", "give it in values"},
		"{{range .port.x}}{{end}}": {some, "attribute template: ", "correct template or values"},
	} {
		m := configfile.New()
		a := attrs("path", value.String("x"), "format", value.String("template"), "template", value.String(template))
		if c.values != nil {
			a.Set(value.Attr{Name: "values", Value: c.values})
		}
		call := &component.Call{
			Attrs: a, WorkDir: t.TempDir(), Machine: component.Machine{Folder: t.TempDir()}, Env: componenttest.NewEnv(t, m.Class()),
		}
		err := m.Deploy(t.Context(), call)
		if _, remedy := component.Detail(err); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(remedy, c.remedy) {
			t.Errorf("%q: %v\n%s", template, err, remedy)
		}
		if _, err := os.Stat(filepath.Join(call.WorkDir, "x")); err == nil {
			t.Errorf("%q: the file was written", template)
		}
	}
}

func TestNotifyIsAskedForByAChange(t *testing.T) {
	m := configfile.New()
	env := componenttest.NewEnv(t, m.Class())
	reader := &value.Reference{Lazy: true, Parts: []value.Part{{Name: "web"}}}
	a := func(v string) *value.Component {
		return attrs("path", value.String("x"), "format", value.String("ini"), "set", attrs("k", value.String(v)), "notify", reader)
	}
	c := &component.Call{Attrs: a("1"), WorkDir: t.TempDir(), Machine: component.Machine{Folder: t.TempDir()}, Env: env}
	if err := m.Deploy(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Old, c.Attrs = c.Attrs, a("2")
	if err := m.Reconfigure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if n := env.Notified(); len(n) != 1 || n[0] != reader {
		t.Errorf("notified %v", n)
	}
}
