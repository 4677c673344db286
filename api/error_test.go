package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestErrorsSurviveTheWire(t *testing.T) {
	for _, e := range []*Error{
		{Kind: KindInvalid, Message: "two mistakes", Diagnostics: []Diagnostic{{Severity: "error", Message: "m", Line: 3, Hints: []string{"h"}}}},
		{Kind: KindNotFound, Message: "no system shp", Nearest: []string{"shop"}},
		{Kind: KindConflict, Message: "busy", Remedy: "wait", Revision: 7, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		{Kind: KindUnavailable, Message: "gone"},
		{Kind: KindStale, Message: "old"},
		{Kind: KindDenied, Message: "no"},
	} {
		data, err := json.Marshal(ProblemOf(fmt.Errorf("wrapped: %w", e)))
		if err != nil {
			t.Fatal(err)
		}
		var p Problem
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		if got := p.Err(); !reflect.DeepEqual(got, e) {
			t.Errorf("%+v came back as %+v", e, got)
		}
		if !errors.Is(p.Err(), &Error{Kind: e.Kind}) || KindOf(p.Err()) != e.Kind {
			t.Errorf("%s is not its kind", e.Kind)
		}
	}
}

func TestUnknownErrorIsInternal(t *testing.T) {
	p := ProblemOf(errors.New("boom"))
	if p.Type != KindInternal || p.Status != http.StatusInternalServerError || p.Detail != "boom" {
		t.Errorf("got %+v", p)
	}
	if KindOf(nil) != "" {
		t.Error("nil has a kind")
	}
}
