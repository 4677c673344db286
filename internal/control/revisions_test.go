package control

import (
	"encoding/json"
	"testing"

	"aloft/api"
)

// FuzzWritten: the text of a description is read with a folder in it, and
// written again the same, or refused.
func FuzzWritten(f *testing.F) {
	seed, err := json.Marshal(api.Written{
		Name: "shop.sf", Folders: []api.WrittenFolder{{Role: "first", Files: map[string]string{"shop.sf": "sfConfig extends {}"}}},
		Set: []api.WrittenSet{{Path: "web:port", Value: "1"}}, Sources: []api.WrittenSource{{File: "shop.sf", Name: "x", Value: json.RawMessage("1")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"folders":[]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := decodeWritten(text)
		if err != nil {
			return
		}
		if len(w.Folders) == 0 {
			t.Fatal("it names no folder")
		}
		once, err := json.Marshal(w)
		if err != nil {
			return // a time that JSON cannot tell
		}
		again, err := decodeWritten(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(again); err != nil || string(once) != string(twice) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}
