package cli

import (
	"encoding/json"
	"testing"

	"aloft/api"
)

// FuzzSavedPlan: what is taken for a saved plan names its system, and reads the
// same once saved again.
func FuzzSavedPlan(f *testing.F) {
	seed, err := json.Marshal(savedPlan{savedForm, savedVersion, &api.Plan{ID: "p", System: "shop", Base: 1}, api.PlanRequest{Name: "shop"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"form":"aloft plan","version":2}`))
	f.Add([]byte(`{"form":"aloft plan","version":1,"plan":null}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := decodeSaved(text)
		if err != nil {
			return
		}
		if s.Plan.System == "" || s.Plan.System != s.Request.Name {
			t.Fatalf("a plan of no system: %s", text)
		}
		once, err := json.Marshal(s)
		if err != nil {
			return // a time that JSON cannot tell
		}
		again, err := decodeSaved(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(again); err != nil || string(once) != string(twice) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}
