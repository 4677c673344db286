package plan

import (
	"bytes"
	"testing"

	"aloft/value"
)

// FuzzDecode: what is taken for a plan reads the same once stored again, and
// can be asked who acts in it.
func FuzzDecode(f *testing.F) {
	b, err := (&Plan{
		ID: "p", System: "shop", Revision: 2, Base: 1, OnFailure: "undo",
		Components: []Component{{Path: "web", Class: "Server", Attrs: Attributes{value.NewComponent(false)}, Digest: "d"}},
		Steps:      []Step{{ID: "web/start", Path: "web", Action: Start, Executor: "m"}},
		Notes:      []string{"n"},
	}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"steps":[{"id":"ROOT/barrier"}],"components":[{"path":"a","attrs":null}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Decode(text)
		if err != nil {
			return
		}
		_ = p.Executors()
		for _, s := range p.Steps {
			_, _ = s.ID.Path(), s.ID.Short()
		}
		once, err := p.Encode()
		if err != nil {
			return // a time that JSON cannot tell
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}
