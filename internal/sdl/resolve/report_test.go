package resolve

import (
	"bytes"
	"testing"
	"testing/fstest"

	"aloft/internal/sdl/diag"
)

// DG1, DG2: everything a diagnostic should tell, about a value that an include
// defines, a template holds and another component uses.
func TestDiagnosticTellsPlaceOriginAndUse(t *testing.T) {
	files := fstest.MapFS{
		"top.sf": {Data: []byte("#include \"t.sf\"\nsfConfig extends {\n  web extends T { host \"h\"; }\n}\n")},
		"t.sf":   {Data: []byte("T extends {\n  port 80;\n  url (PARENT:prot ++ host);\n}\n")},
	}
	res, err := Resolve(t.Context(), Source{Folder: Folder{FS: files}, Name: "top.sf"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sources := func(name string) ([]byte, bool) {
		f, found := files[name]
		if !found {
			return nil, false
		}
		return f.Data, true
	}
	if err := diag.WriteText(&out, &res.Diagnostics, sources); err != nil {
		t.Fatal(err)
	}
	const want = `t.sf:3:8: error SDL801 (link): reference not found: PARENT:prot
    3 |   url (PARENT:prot ++ host);
      |        ^^^^^^^^^^^
    in sfConfig:web, attribute url
    included from top.sf:1:1
    found no prot in sfConfig:web: port, url, host
    top.sf:3:7: used in sfConfig:web here
    hint: did you mean PARENT:port?
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestStrictMakesErrorsOfWarnings(t *testing.T) {
	const text = "sfConfig extends { a LAZY x:y; }"
	if res := resolveText(t, text, Options{}); res.Description == nil || res.Diagnostics.Warnings() != 1 {
		t.Errorf("not strict: %v", res.Diagnostics.All())
	}
	if res := resolveText(t, text, Options{Strict: true}); res.Description != nil || res.Diagnostics.Errors() != 1 {
		t.Errorf("strict: %v", res.Diagnostics.All())
	}
}
