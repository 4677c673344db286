package provision

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"aloft/provider"
)

func FuzzRow(f *testing.F) {
	m := &Memory{}
	r := rows{m, time.Now}
	if err := r.put(&Entry{
		Machine: "m", Token: "t", State: Running, Claims: []Claim{{Holder: "shop/web"}}, Intended: time.Unix(1, 0).UTC(),
		Seen: provider.Resource{Ref: "r", State: provider.Running}, Asked: 1,
	}); err != nil {
		f.Fatal(err)
	}
	row, _ := m.Get("m")
	f.Add(row)
	f.Add([]byte(`{"schema":1,"claims":null}`))
	f.Add([]byte(`{"schema":99}`))
	f.Fuzz(func(t *testing.T, row []byte) {
		e, err := decode("m", row)
		if err != nil {
			if broken := new(ledgerError); !errors.As(err, &broken) {
				t.Errorf("error %v is not the ledger's", err)
			}
			return
		}
		e.Machine = "m"
		if err := r.put(e); err != nil {
			return // a time that JSON cannot tell
		}
		again, err := r.get("m")
		if err != nil || !reflect.DeepEqual(normal(e), normal(again)) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

// normal returns e without what is told in more than one way.
func normal(e *Entry) Entry {
	n := *e
	n.Changed = time.Time{}
	n.Intended, n.Seen.Created, n.Spec.ValidUntil = n.Intended.UTC(), n.Seen.Created.UTC(), n.Spec.ValidUntil.UTC()
	if len(n.Claims) == 0 {
		n.Claims = nil
	}
	if len(n.Spec.Notes) == 0 {
		n.Spec.Notes = nil
	}
	return n
}

func TestRowOfANewerReleaseIsRefused(t *testing.T) {
	_, err := decode("m", []byte(`{"schema":2,"machine":"m"}`))
	if err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("got %v", err)
	}
}
