package client

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"aloft/api"
)

func collect(text string) (items []string, err error) {
	err = messages(strings.NewReader(text), func(data []byte) error {
		items = append(items, string(data))
		return nil
	})
	return items, err
}

func TestMessagesAreReadAsTheStandardSays(t *testing.T) {
	for _, c := range []struct {
		name, text string
		items      []string
		err        error
	}{
		{"announced end", "data: a\n\ndata:b\n\nevent: end\ndata: {}\n\n", []string{"a", "b"}, nil},
		{"cut between messages", "data: a\n\n", []string{"a"}, errCut},
		{"cut inside a message", "data: a\n\ndata: b", []string{"a"}, errCut},
		{"comments, ids, several data lines", ": hello\nid: 4\ndata: a\ndata: b\n\nevent: end\n\n", []string{"a\nb"}, nil},
		{"CR LF", "data: a\r\n\r\nevent: end\r\n\r\n", []string{"a"}, nil},
		{"error", "data: a\n\nevent: error\ndata: {\"type\":\"unavailable\",\"detail\":\"gone\"}\n\n", []string{"a"}, &api.Error{Kind: api.KindUnavailable}},
	} {
		items, err := collect(c.text)
		if !slices.Equal(items, c.items) || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", c.name, items, err)
		}
	}
}

// FuzzMessages: no stream makes the reader panic, and what comes out had a
// data line.
func FuzzMessages(f *testing.F) {
	f.Add("data: a\n\nevent: end\ndata: {}\n\n")
	f.Add("event: error\ndata: {\n\n")
	f.Add(":\n\n\r\ndata\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		items, _ := collect(text)
		if len(items) > strings.Count(text, "data") {
			t.Errorf("%d items out of %q", len(items), text)
		}
	})
}
