package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"aloft/api"
)

// page chooses a part of a list. Without it the whole list is answered.
type page struct {
	Limit  int    `query:"limit" minimum:"0" maximum:"10000" doc:"at most so many; the header Link then leads to the next ones; 0: all"`
	Cursor string `query:"cursor" maxLength:"2000" doc:"where the page before ended, as its Link says"`
}

// place is where a page ended: behind the item of that name, which was there
// at that index.
type place struct {
	Name  string `json:"n"`
	Index int    `json:"i"`
}

func (p place) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // text and numbers always have a form
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parsePlace(s string) (p place, err error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Index < 0 {
		return place{}, &api.Error{Kind: api.KindInvalid, Message: "the cursor is not one of ours", Remedy: "leave it out to start from the beginning"}
	}
	return p, nil
}

// cut returns the page of list that p chooses, and the place where it ends if
// more follows. Items that come and go in between are neither a reason to show
// another one twice nor to leave it out. Sorted lists are in the order of
// their names; in others, a name that is gone leaves its index.
func cut[T any](list []T, p page, sorted bool, name func(T) string) ([]T, *place, error) {
	from := 0
	if p.Cursor != "" {
		at, err := parsePlace(p.Cursor)
		if err != nil {
			return nil, nil, err
		}
		if sorted {
			from = slices.IndexFunc(list, func(t T) bool { return name(t) > at.Name })
			if from < 0 {
				from = len(list)
			}
		} else if from = slices.IndexFunc(list, func(t T) bool { return name(t) == at.Name }) + 1; from == 0 {
			from = min(at.Index, len(list))
		}
	}
	list = list[from:]
	if p.Limit == 0 || len(list) <= p.Limit {
		return list, nil, nil
	}
	list = list[:p.Limit]
	return list, &place{Name: name(list[p.Limit-1]), Index: from + p.Limit - 1}, nil
}

// next is the header Link that leads to the page behind at; "" if there is
// none.
func (p page) next(path string, at *place) string {
	if at == nil {
		return ""
	}
	q := url.Values{"cursor": {at.String()}, "limit": {strconv.Itoa(p.Limit)}}
	return fmt.Sprintf(`<%s?%s>; rel="next"`, path, q.Encode())
}
