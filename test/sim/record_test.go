package sim

import (
	"strings"
	"testing"
	"time"

	"aloft/component"
)

// record returns what a component was terminated with last.
func (w *world) record(path string) component.Record {
	w.t.Helper()
	var found *component.Record
	for _, c := range w.stage.trace() {
		if string(c.Path) == path && c.Op == "terminate" {
			found = &c.Record
		}
	}
	if found == nil {
		w.t.Fatalf("%s was not terminated", path)
	}
	return *found
}

// TR1 and TR2: whatever ends, and however, what is ended for it gets one record
// that says what it was, of which component, why, when and where.
func TestTR1TR2RecordSaysWhatWhyWhenAndWhere(t *testing.T) {
	for name, c := range map[string]struct {
		bad         string // attributes of m1:group:bad
		happens     func(w *world)
		typ         component.RecordType
		description string
		cause       string // what it contains
		siblings    bool   // are ended with the same record
	}{
		"a deploy fails": {bad: "failDeploy 1;", typ: "abnormal", description: "deploy of m1:group:bad failed", cause: "it was told to fail"},
		"a start fails":  {bad: "failStart 1;", typ: "abnormal", description: "start of m1:group:bad failed", cause: "it was told to fail"},
		"a start takes too long": {
			bad: "startTakes 60000; sfStartTimeout 5;", typ: "abnormal", description: "start of m1:group:bad failed", cause: "5s",
		},
		"it ends by itself": {
			bad: "endsAfter 5000; ends 1;", typ: "abnormal", description: "ended by itself", cause: "it was told to", siblings: true,
		},
		"it ends normally": {
			bad: `endsAfter 5000; ends 1; endsHow "normal";`, typ: "normal", description: "ended by itself", siblings: true,
		},
		"it ends in a way of its own": {
			happens: func(w *world) { w.stage.die("m1:group:bad", component.ExternalReferenceDead) },
			typ:     "externalReferenceDead", description: "ended by itself", cause: "it was told to", siblings: true,
		},
		"it does not answer": {
			happens: func(w *world) { w.mute("m1:group:bad") },
			typ:     "abnormal", description: "m1:group:bad has not answered 2 pings in a row", cause: "it does not answer", siblings: true,
		},
		"what it asserts is false": {
			bad:     `endless extends Assertions { low ((LAZY ROOT:m1:group:gauge:level) < 5); }`,
			happens: func(w *world) { w.level("m1:group:gauge", 7) },
			typ:     "abnormal", description: "m1:group:bad has not answered 2 pings in a row", cause: "low is false", siblings: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, options{seed: 1}, func(w *world) {
				w.insist(w.request(`#include "components.sf"
				sfConfig extends { m1 extends VM { sfOnChildEnd "ignore";
					group extends Compound {
						gauge extends Probe { begins 3; }
						bad extends Probe { ` + c.bad + ` below extends Probe; }
						good extends Probe;
					}
				} }`))
				w.end()
				if c.happens != nil {
					c.happens(w)
				}
				time.Sleep(2 * time.Minute)
				ended := []string{"m1:group:bad"}
				if c.siblings {
					ended = append(ended, "m1:group:bad:below", "m1:group:good")
				}
				for _, path := range ended {
					r := w.record(path)
					if r.Type != c.typ || r.Description != c.description || r.Path != "m1:group:bad" || !strings.Contains(r.Cause, c.cause) {
						t.Errorf("%s was ended with the record %+v", path, r)
					}
					if r.Host != "sys/m1" || r.Time.Before(w.stage.begun) || r.Time.After(time.Now()) {
						t.Errorf("%s was ended with a record of %v, on %q", path, r.Time, r.Host)
					}
				}
				w.down(true)
				if r := w.record("m1:group:gauge"); !c.siblings && (r.Type != component.Normal || r.Host != "sys/m1" || r.Time.IsZero()) {
					t.Errorf("what was taken down orderly has the record %+v", r)
				}
			})
		})
	}
}
