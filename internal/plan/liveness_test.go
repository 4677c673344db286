package plan

import (
	"maps"
	"testing"

	"aloft/internal/inventory"
	"aloft/value"
)

// LV3: what ends with its parent is said of the topmost component of a machine
// whose parent is elsewhere, and holds for all below it there: in the time that
// its parent's pings give it, of the machine that the parent is on.
func TestLV3PartSaysWhatEndsWithoutItsParent(t *testing.T) {
	const text = `sfConfig extends {
		sfOnParentLoss "terminate";
		m1 extends VM { sfLivenessDelay 4; sfLivenessFactor 3;
			a extends Compound { sfLivenessDelay 2; inner extends Server; away extends Server { sfProcessHost LAZY ROOT:m2:ip; sfLivenessDelay 0; } }
			kept extends Compound { sfOnParentLoss "keep"; x extends Server { sfOnParentLoss "terminate"; } }
		}
		m2 extends VM { b extends Server; }
		frame extends Compound { far extends Server { sfProcessHost LAZY ROOT:m1:ip; } }
	}`
	p, _ := plans(t, "loss.sf", text, (&inventory.System{Name: "loss"}).Clone(), true)
	type loss struct {
		after int64
		of    string
	}
	want := map[value.Path]loss{
		"m1:a": {12000, ""}, "m1:a:inner": {12000, ""}, "m1:a:away": {6000, "machine-m1-1"}, "m2:b": {30000, ""}, "frame:far": {30000, ""},
	}
	got := map[value.Path]loss{}
	for _, c := range p.Components {
		if c.ParentLoss != 0 {
			got[c.Path] = loss{c.ParentLoss, c.Parent}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("what ends without its parent: %v, want %v", got, want)
	}
}
