package flow

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"aloft/component"
	"aloft/value"
)

func FuzzDecode(f *testing.F) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &Course{Class: Timeout, Children: []string{action}, Attrs: value.NewComponent(false, value.Attr{Name: "time", Value: value.Integer(5)})}
	begun := c.Begin(now, 0)
	for _, s := range []State{begun, c.Step(begun, now, Ended{Name: action, Run: 1, Record: component.Record{Type: component.Normal}})} {
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			return // a time that cannot be written
		}
		same, err := Decode(again)
		if err != nil {
			t.Fatalf("%s cannot be read: %v", again, err)
		}
		if third, _ := json.Marshal(same); !reflect.DeepEqual(third, again) {
			t.Errorf("%s, written again, is %s", again, third)
		}
		for _, class := range Classes() { // whatever it is, a course goes on
			c := &Course{Class: class, Children: []string{action, "a", "b"}, Attrs: value.NewComponent(false)}
			for _, e := range []any{Tick{}, Reached{Name: action, Run: 1, At: Running}, Answered{}, Ended{Name: "a", Run: 2}, Ending{}} {
				*s = c.Step(*s, now, e)
			}
		}
	})
}
