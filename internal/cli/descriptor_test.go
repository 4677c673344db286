package cli

import (
	"strings"
	"testing"
)

func TestParseDescriptor(t *testing.T) {
	for text, want := range map[string]descriptor{
		"shop:DEPLOY:shop.sf:::":                          {name: "shop", action: "DEPLOY", description: "shop.sf"},
		"counterEx:DEPLOY:org/x.sf:foo:localhost:process": {"counterEx", "DEPLOY", "org/x.sf", "foo", "localhost", "process"},
		`"HOST localhost:foo":DETaTERM:::[127.0.0.1]:`:    {name: "HOST localhost:foo", action: "DETaTERM", host: "[127.0.0.1]"},
		`foo:DEPLOY:'c:\sf\foo.sf':"a:b":"10.0.0.1":"p"`:  {"foo", "DEPLOY", `c:\sf\foo.sf`, "a:b", "10.0.0.1", "p"},
		`:PING:a"b:it's:"":''`:                            {action: "PING", description: `a"b`, subref: "it's"},
		`"don't":PARSE:'say "x:y"':::`:                    {name: "don't", action: "PARSE", description: `say "x:y"`},
		":::::":                                           {},
		"$(id):TERMINATE:`id`:;id:--home=/:\n":            {"$(id)", "TERMINATE", "`id`", ";id", "--home=/", "\n"},
	} {
		if got, err := parseDescriptor(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                 "has 1 field, not 6",
		"shop:PING":        "has 2 fields, not 6",
		"shop:PING:::::":   "has 7 fields, not 6",
		`"shop:PING::::`:   "the quote before shop:PING:::: has no end",
		`"shop"x:PING::::`: `after "shop" comes x:PING::::, not a colon`,
		`shop:PING::::"`:   "has no end",
	} {
		if _, err := parseDescriptor(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

func TestActionIsTheCommandOfAloftThatDoesIt(t *testing.T) {
	for text, want := range map[string]string{
		"shop:DEPLOY:a.sf::localhost:rootProcess": "up --name=shop -- a.sf |",
		":DEPLOYWAIT:a.sf:sfConfig::":             "up -- a.sf |",
		"-y:UPDATE:-h:::":                         "up --name=-y -- -h |",
		"shop:TERMINATE::::":                      "down -- shop |",
		"shop:PING::web::":                        "ping -- shop web |",
		`shop:LIST::"web:site"::`:                 "status -- shop web:site |",
		"shop:DUMP:a.sf:::":                       "dump -- shop | DESCRIPTION a.sf is not used: 'aloft dump' goes by what was deployed",
		"rootProcess:DIAGNOSTICS::::":             "doctor -- |",
		"shop:DIAGNOSTICS::::":                    "doctor -- | NAME shop is not used: 'aloft doctor' looks at this host",
		"shop:PARSE:a.sf:::":                      "parse -- a.sf | NAME shop is not used: 'aloft parse' goes by the description alone",
		"shop:PING:::far:p1":                      "ping -- shop | HOST far is not used: the description says what machines there are, and --context or --home whose daemon is asked, PROCESS p1 is not used: components do not share processes; the daemon of a machine runs each apart",
	} {
		d, err := parseDescriptor(text)
		if err != nil {
			t.Fatal(err)
		}
		command, options, args, notes, err := translate(d)
		line := strings.Join(append(append(append([]string{command}, options...), "--"), args...), " ")
		if got := strings.TrimRight(line+" | "+strings.Join(notes, ", "), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"shop:DEPLOY::::":           "DEPLOY needs the field DESCRIPTION",
		":PING::::":                 "PING needs the field NAME",
		"shop:DEPLOY:a.sf:web::":    "not web of it",
		"shop:LOAD:a.sf:::":         "nothing from remote code bases",
		"shop:DETACH::::":           "DETACH needs the field SUBREF",
		"shop:DETaTERM::::":         "DETaTERM needs the field SUBREF",
		"rootProcess:TERMINATE::::": "rootProcess is no system here",
		"shop:DEPLYO:a.sf:::":       `unknown action "DEPLYO"`,
		"shop:ping::::":             `unknown action "ping"`,
	} {
		d, err := parseDescriptor(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, _, err := translate(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

// written is a descriptor as people write it.
func (d descriptor) written() string {
	var all []string
	for _, f := range []string{d.name, d.action, d.description, d.subref, d.host, d.process} {
		if quoted := strings.HasPrefix(f, `"`) || strings.HasPrefix(f, "'") || strings.Contains(f, ":"); quoted {
			quote := `"`
			if strings.Contains(f, quote) {
				quote = "'"
			}
			f = quote + f + quote
		}
		all = append(all, f)
	}
	return strings.Join(all, ":")
}

// What was read and is written again is read as the same, and what it becomes
// has each field in one place, whatever is in it.
func FuzzDescriptor(f *testing.F) {
	for _, seed := range []string{"shop:DEPLOY:a.sf:::", `"a:b":PING:'c"d'::h:p`, "a:LIST", `"`, `''x:::::`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDescriptor(text)
		if err != nil {
			return
		}
		if again, err := parseDescriptor(d.written()); err != nil || again != d {
			t.Fatalf("%q: %+v, written %q, read %+v, %v", text, d, d.written(), again, err)
		}
		_, options, args, _, err := translate(d)
		if err != nil {
			return
		}
		for _, o := range options {
			if o != "--name="+d.name {
				t.Fatalf("%q: option %q", text, o)
			}
		}
		for _, a := range args {
			if a != d.name && a != d.description && a != d.subref {
				t.Fatalf("%q: argument %q", text, a)
			}
		}
	})
}
