package event

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
)

var whole = Event{
	Origin: "m1", Sequence: 7, Time: time.Date(2026, 5, 4, 3, 2, 1, 9, time.UTC), System: "guestbook", Revision: 3,
	Path: "web:nginx", Incarnation: "i1", Plan: "p", Step: "s", Kind: StepFailed, Reason: "port 80 is in use", Fraction: 0.5,
}

func TestEveryFieldSurvivesTheWireAndTheLog(t *testing.T) {
	got, err := FromProto(whole.Proto())
	if err != nil || got != whole {
		t.Errorf("over the wire: %+v, %v", got, err)
	}
	m := whole.Proto().ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); !m.Has(f) {
			t.Errorf("field %s is not sent", f.Name())
		}
	}
	b, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	got = Event{}
	if err := json.Unmarshal(b, &got); err != nil || got != whole {
		t.Errorf("in the log: %+v, %v", got, err)
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	for want, change := range map[string]func(*peerpb.Event){
		`unknown kind "plan.dreamt"`: func(e *peerpb.Event) { e.Kind = "plan.dreamt" },
		"without origin":             func(e *peerpb.Event) { e.Origin = "" },
		"with sequence 0":            func(e *peerpb.Event) { e.Sequence = 0 },
		"progress with sequence 7":   func(e *peerpb.Event) { e.Kind = string(Progress) },
		"with fraction NaN":          func(e *peerpb.Event) { e.Fraction = math.NaN() },
		"with fraction 1.5":          func(e *peerpb.Event) { e.Fraction = 1.5 },
		"nil Timestamp":              func(e *peerpb.Event) { e.Time = nil },
		"out-of-range":               func(e *peerpb.Event) { e.Time = &timestamppb.Timestamp{Nanos: -1} },
	} {
		p := whole.Proto()
		change(p)
		if _, err := FromProto(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// The list must hold what is declared: read the declarations.
func TestKindsListsAllThatAreDeclared(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []Kind
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Kind" {
				s, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				declared = append(declared, Kind(s))
			}
		}
		return true
	})
	if len(declared) != len(Kinds()) {
		t.Errorf("%d declared, %d listed", len(declared), len(Kinds()))
	}
	for _, k := range declared {
		if !k.Valid() {
			t.Errorf("%s is not listed", k)
		}
		if k.Stored() != (k != Progress) {
			t.Errorf("%s: stored is %v", k, k.Stored())
		}
	}
}

func FuzzFromProto(f *testing.F) {
	b, _ := proto.Marshal(whole.Proto())
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p peerpb.Event
		if proto.Unmarshal(b, &p) != nil {
			return
		}
		e, err := FromProto(&p)
		if err != nil {
			return
		}
		if again, err := FromProto(e.Proto()); err != nil || again != e {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
