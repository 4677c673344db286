package agent

import (
	"testing"
	"time"

	"aloft/internal/inventory"
	"aloft/value"
)

// Where undoing a deploy has failed, or what was ended is to come back, ending it
// for good takes what it was made with.
func TestAttributesOfWhatHasNotSucceededOutliveTheDaemon(t *testing.T) {
	tried := value.NewComponent(false)
	tried.Set(value.Attr{Name: "sfMachine", Value: value.String("6dcc2492")})
	c := &held{path: "web", state: inventory.Failed, tried: tried}
	row, err := c.row("shop", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	back, err := fromRow(row)
	if err != nil {
		t.Fatal(err)
	}
	if back.tried == nil || !value.Equal(back.tried, tried) || back.attrs != nil {
		t.Errorf("tried %v, applied %v", back.tried, back.attrs)
	}
}
