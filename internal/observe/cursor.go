package observe

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"aloft/internal/event"
	"aloft/value"
)

// Cursor is how far a reader has come: by origin, the sequence of the last
// event seen. Who gets one as text sends it back as it is.
type Cursor map[string]int64

// String returns the cursor as text without spaces, for URLs and headers.
func (c Cursor) String() string {
	b, err := json.Marshal(map[string]int64(c))
	if err != nil {
		panic(err) // strings and integers always have a form
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads what String returned; the empty text is the start.
func ParseCursor(s string) (Cursor, error) {
	c := Cursor{}
	if s == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, (*map[string]int64)(&c))
	}
	if err != nil || c == nil {
		return nil, errors.New("the cursor is not one of ours: leave it out to start from the beginning")
	}
	return c, nil
}

// Filter says which events a reader wants. What is empty lets all through.
type Filter struct {
	Origin   string
	System   string
	Path     value.Path // the component and all below it
	Plan     string
	Progress bool // progress too
}

func (f Filter) lets(ev event.Event) bool {
	return (f.Origin == "" || f.Origin == ev.Origin) &&
		(f.System == "" || f.System == ev.System) &&
		(f.Path == value.Root || f.Path.Contains(ev.Path)) &&
		(f.Plan == "" || f.Plan == ev.Plan)
}
