package value

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// samples holds every kind of value, and the corners of each.
func samples() []Value {
	at := Pos{File: "c:/a.sf", Line: 3, Col: 7}
	lazy := &Reference{Lazy: true, Parts: []Part{{Kind: PartParent}, {Kind: PartHere, Name: "ip"}}}
	return []Value{
		Null{},
		Bool(true), Bool(false),
		TBD{},
		Integer(0), Integer(math.MinInt32), Integer(math.MaxInt32),
		Long(5), Long(9007199254740993), Long(math.MinInt64),
		Float(0.5), Float(math.Float32frombits(1)), Float(math.Inf(1)), Float(math.NaN()), Float(math.MaxFloat32),
		Double(0.25), Double(math.Copysign(0, -1)), Double(math.Inf(-1)), Double(math.NaN()), Double(1e7), Double(5e-324),
		String(""), String("a\"b\\c\nd\te\x00\x1f\u2028\u00e9\U0001F600"),
		Bytes{},
		Bytes{0x0A, 0xFF},
		Vector{},
		Vector{Integer(1), String("a"), Vector{Null{}}, TBD{}},
		NewComponent(true),
		NewComponent(
			false,
			Attr{Name: "n", Value: Integer(3), Tags: []string{"a", "b"}, Pos: at},
			Attr{Name: "unique7", Value: NewComponent(true, Attr{Name: "", Value: lazy, Pos: at})},
			Attr{Name: "v", Value: Vector{NewComponent(false)}},
		),
		lazy,
		&Reference{Data: true, Parts: []Part{{Kind: PartRoot}, {Kind: PartAttrib, Name: "x y"}}},
		&Reference{Lazy: true, Optional: true, Default: String("x"), Parts: []Part{{Kind: PartHost, Name: "10.0.0.1"}}},
		&Reference{Lazy: true, Apply: NewComponent(true, Attr{Name: "sfFunctionClass", Value: String("Sum")})},
		&Reference{Lazy: true, Assert: true, Apply: NewComponent(true)},
	}
}

func TestWireFormLosesNothing(t *testing.T) {
	for _, v := range samples() {
		b, err := Encode(v)
		if err != nil {
			t.Errorf("%#v: %v", v, err)
			continue
		}
		if !json.Valid(b) {
			t.Errorf("%s is no JSON", b)
		}
		w, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		if c, err := Encode(w); err != nil || string(c) != string(b) {
			t.Errorf("%s came back as %s (%v)", b, c, err)
		}
		if !Equal(v, w) {
			t.Errorf("%s came back as another value", b)
		}
		if c, ok := v.(*Component); ok && !reflect.DeepEqual(c.attrs, w.(*Component).attrs) {
			t.Errorf("%s came back with other names, tags or positions:\n%#v\n%#v", b, c.attrs, w.(*Component).attrs)
		}
	}
}

func TestDigestIgnoresPositionsAndNothingElse(t *testing.T) {
	seen := map[string]Value{}
	for _, v := range samples() {
		d := Digest(v)
		if w, ok := seen[d]; ok && !Equal(v, w) {
			t.Errorf("%s and %s share a digest", Source(v), Source(w))
		}
		seen[d] = v
	}
	one := NewComponent(false, Attr{Name: "a", Value: Null{}, Pos: Pos{"x", 1, 1}})
	two := NewComponent(false, Attr{Name: "a", Value: Null{}, Tags: []string{}})
	if Digest(one) != Digest(two) {
		t.Error("a position changes the digest")
	}
	// Written down so that a change of the form, which would make every
	// deployed system look changed, is noticed.
	const want = "sha256:342e1f7129f4"
	if d := Digest(one); !strings.HasPrefix(d, want) {
		t.Errorf("digest is %s, was %s…", d, want)
	}
}

func TestDecodeRefusesWhatIsNotWireForm(t *testing.T) {
	deep := strings.Repeat("[", MaxWireDepth+2) + strings.Repeat("]", MaxWireDepth+2)
	for _, s := range []string{
		"", "nul", "1 2", "1.5", "01", "1e3", "2147483648", `{"$long":9223372036854775808}`, `"a`, "\"\n\"", `"\x"`,
		`{}`, `{"$cd":"eager"}`, `{"$cd":"eager","attrs":1}`, `{"$cd":"lazy","attrs":[]}`, `{"attrs":[],"$cd":"eager"}`,
		`{"$cd":"eager","attrs":[["a"]]}`, `{"$cd":"eager","attrs":[["a",1],["a",2]]}`, `{"$cd":"eager","attrs":[],"x":1}`,
		`{"$cd":"eager","attrs":[["a",1,[],"f:0:1"]]}`, `{"$cd":"eager","attrs":[["a",1,[],"f:1:1",5]]}`,
		`{"$float":"1"}`, `{"$float":"0x1p4"}`, `{"$double":"inf"}`, `{"$bytes":"#HEX#0#"}`, `{"$long":1,"$long":2}`,
		`{"$ref":{}}`, `{"$ref":{"parts":[["PARENT","x"]]}}`, `{"$ref":{"parts":[["ATTRIB"]]}}`, `{"$ref":{"parts":[["NO","x"]]}}`,
		`{"$ref":{"lazy":false,"parts":[["ROOT"]]}}`, `{"$ref":{"apply":1}}`, `{"$ref":{"assert":true,"parts":[["ROOT"]]}}`,
		`{"$ref":{"default":1,"parts":[["ROOT"]]}}`, `{"$tbd":false}`, `[1,]`, `[1`, `[1 2]`, deep,
	} {
		if v, err := Decode([]byte(s)); err == nil {
			t.Errorf("%.60q was read as %#v", s, v)
		}
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	var deep Value = Null{}
	for range MaxWireDepth + 1 {
		deep = Vector{deep}
	}
	for name, v := range map[string]Value{
		"nothing": nil, "nothing in a vector": Vector{nil}, "no component": (*Component)(nil), "too deep": deep,
	} {
		if _, err := Encode(v); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
	deep = deep.(Vector)[0]
	b, err := Encode(deep)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(b); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
}

func TestStringsBecomeUTF8(t *testing.T) {
	b, err := Encode(String("a\xffb"))
	if err != nil || string(b) != "\"a\uFFFDb\"" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestWireIsAJSONMember(t *testing.T) {
	type message struct{ A, B Wire }
	b, err := json.Marshal(message{A: Wire{Long(7)}})
	if err != nil {
		t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(b, &m); err != nil || m.A.Value != Value(Long(7)) || m.B.Value != Value(Null{}) {
		t.Errorf("%s read as %#v (%v)", b, m, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range samples() {
		b, _ := Encode(v)
		f.Add(b)
	}
	f.Add([]byte(`{"$ref":{"lazy":true,"apply":{"$cd":"data","attrs":[["a",1,["t"],"x:1:1"]]}}}`))
	f.Add([]byte(`[[[["\ud800"]]],-0]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Decode(data)
		if err != nil {
			return
		}
		b, err := Encode(v)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		w, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if !Equal(v, w) || Digest(v) != Digest(w) {
			t.Fatalf("%s is another value than %s", b, data)
		}
		if typed := TypedJSON(v); !json.Valid(typed) {
			t.Fatalf("typed form is no JSON: %s", typed)
		}
		if plain := PlainJSON(v); !json.Valid(plain) {
			t.Fatalf("plain form is no JSON: %s", plain)
		}
	})
}
