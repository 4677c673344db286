package agent

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"aloft/api/peerpb"
	"aloft/value"
)

// FuzzPart: what a part says is taken whole or refused, and reads the same
// after it was kept.
func FuzzPart(f *testing.F) {
	wire, err := value.Encode(value.NewComponent(false))
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []*peerpb.Part{
		{
			System: "sys", Plan: "one", Revision: 1, Executor: "here", Fence: &peerpb.Fence{Epoch: 1, Term: 1},
			Components: []*peerpb.Component{{Path: "p", Class: "Thing", Attributes: wire, Digest: "1", OnEnd: "restart", MaxRestarts: 10}},
			Steps:      []*peerpb.Step{{Id: "p/deploy", Path: "p", Action: peerpb.Action_ACTION_DEPLOY}, {Id: "p/start", Path: "p", Action: peerpb.Action_ACTION_START, After: []string{"p/deploy"}}},
		},
		{},
		{Steps: []*peerpb.Step{{Action: 99}}},
		{Components: []*peerpb.Component{{Path: "p", Attributes: []byte("5")}, {}}},
	} {
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, signed []byte) {
		c, err := decodePart(signed)
		if err != nil {
			return
		}
		if len(c.steps) != len(c.part.Steps) || len(c.attrs) != len(c.part.Components) {
			t.Fatalf("%d of %d steps, %d of %d components", len(c.steps), len(c.part.Steps), len(c.attrs), len(c.part.Components))
		}
		kept, err := proto.Marshal(c.part)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodePart(kept)
		if err != nil || !proto.Equal(again.part, c.part) {
			t.Errorf("%v became %v, %v", c.part, again, err)
		}
	})
}
