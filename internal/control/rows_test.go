package control

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"aloft/internal/control/controlpb"
	"aloft/internal/store"
	"aloft/provider"
)

// FuzzMachineRow: a machine's row is read, with what is written again the same,
// or the error names the row.
func FuzzMachineRow(f *testing.F) {
	proposal, err := json.Marshal(provider.Proposal{Host: "h", Provider: "local", Cores: 2, Notes: []string{"n"}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{proposal, []byte(`{}`), []byte(`null`), []byte(`[`), nil} {
		row, err := machineTable.Encode(&controlpb.Machine{Id: "id", Path: "web", Proposal: seed})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		kv := store.NewMemory()
		key := machineTable.Key("shop", "web")
		if _, err := kv.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: key, Value: row}}}); err != nil {
			t.Fatal(err)
		}
		r := rows{kv: kv}
		machines, err := r.machines(t.Context(), machineTable, "shop")
		if err != nil {
			if !strings.Contains(err.Error(), key) {
				t.Errorf("the error does not name the row: %v", err)
			}
			return
		}
		text, err := json.Marshal(machines[0].Proposal)
		if err != nil {
			return // a time that JSON cannot tell
		}
		var again provider.Proposal
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(again)
		if err != nil || !bytes.Equal(text, twice) {
			t.Errorf("%s became %s, %v", text, twice, err)
		}
	})
}
