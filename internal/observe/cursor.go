package observe

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"aloft/internal/event"
	"aloft/value"

	"github.com/google/uuid"
)

// Cursor is how far a reader has come: by origin, the sequence of the last
// event seen. Who gets one as text sends it back as it is.
type Cursor map[string]int64

// String returns the cursor as text without spaces, for URLs and headers: some
// 27 characters for each origin.
//
// Each origin, in order of their names, is the length of its name, its name,
// and how far its sequence is from the one before: sequences are times, so most
// are near each other. A UUID is its 16 bytes, with the length 0.
func (c Cursor) String() string {
	b := make([]byte, 0, 22*len(c))
	before := int64(0)
	for _, origin := range slices.Sorted(maps.Keys(c)) {
		if id, err := uuid.Parse(origin); err == nil && id.String() == origin {
			b = append(append(b, 0), id[:]...)
		} else {
			b = append(binary.AppendUvarint(b, uint64(len(origin))), origin...)
		}
		b = binary.AppendVarint(b, c[origin]-before)
		before = c[origin]
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor reads what String returned; the empty text is the start.
func ParseCursor(s string) (Cursor, error) {
	foreign := errors.New("the cursor is not one of ours: leave it out to start from the beginning")
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return nil, foreign
	}
	c := Cursor{}
	at := int64(0)
	for len(b) > 0 {
		length, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, foreign
		}
		b = b[n:]
		named := length > 0
		if !named {
			length = uint64(len(uuid.UUID{}))
		}
		if length > uint64(len(b)) {
			return nil, foreign
		}
		origin := string(b[:length])
		if !named {
			origin = uuid.UUID(b[:length]).String()
		}
		b = b[length:]
		step, n := binary.Varint(b)
		if n <= 0 {
			return nil, foreign
		}
		b = b[n:]
		at += step
		c[origin] = at
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
