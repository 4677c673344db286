package value

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/quick"
)

func ref(parts ...Part) *Reference { return &Reference{Parts: parts} }

func attrib(name string) Part { return Part{Kind: PartAttrib, Name: name} }

func here(name string) Part { return Part{Kind: PartHere, Name: name} }

func TestFloatsReadLikeJava(t *testing.T) {
	for text, f := range map[string]float64{
		"0.0": 0, "-0.0": math.Copysign(0, -1), "100.0": 100, "0.001": 1e-3, "1.0E7": 1e7, "2.5E-4": 2.5e-4,
		"9999999.0": 9999999, "9999999.5": 9999999.5, "1.2345678901E10": 12345678901, "9.99E-4": 9.99e-4,
		"1.7976931348623157E308": math.MaxFloat64, "5.0E-324": math.SmallestNonzeroFloat64, "0.1": 0.1, "-12.5": -12.5,
		"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1), "2.0E-100": 2e-100,
	} {
		if got := FloatText(f, 64); got != text {
			t.Errorf("double %g reads %s, want %s", f, got, text)
		}
	}
	for text, f := range map[string]float32{"0.1": 0.1, "3.4028235E38": math.MaxFloat32, "1.0E10": 1e10, "16777.217": 16777.217} {
		if got := FloatText(float64(f), 32); got != text {
			t.Errorf("float %g reads %s, want %s", f, got, text)
		}
	}
}

func TestFloatTextReadsBack(t *testing.T) {
	if err := quick.Check(func(f float64) bool {
		g, err := strconv.ParseFloat(FloatText(f, 64), 64)
		return err == nil && f == g
	}, nil); err != nil {
		t.Error(err)
	}
	if err := quick.Check(func(f float32) bool {
		g, err := strconv.ParseFloat(FloatText(float64(f), 32), 32)
		return err == nil && f == float32(g)
	}, nil); err != nil {
		t.Error(err)
	}
}

func TestTextOfReferences(t *testing.T) {
	concat := String("org.smartfrog.sfcore.languages.sf.functions.Concatenate")
	lazyIP := &Reference{Lazy: true, Parts: []Part{attrib("ip")}}
	for _, c := range []struct {
		ref  *Reference
		want string
	}{
		{&Reference{Lazy: true, Parts: []Part{{Kind: PartParent}, here("addr")}}, "LAZY PARENT:addr"},
		{&Reference{Lazy: true, Optional: true, Default: String("x"), Parts: []Part{attrib("peer"), here("name")}}, `LAZY OPTIONAL ("x") peer:name`},
		{&Reference{Optional: true, Default: Null{}, Parts: []Part{attrib("peer")}}, "OPTIONAL peer"},
		{&Reference{Data: true, Parts: []Part{attrib("peer")}}, "DATA peer"},
		{
			ref(here("a"), attrib("b"), Part{Kind: PartRoot}, Part{Kind: PartThis}, Part{Kind: PartProcess}, here("c")),
			"HERE a:ATTRIB b:ROOT:THIS:PROCESS:c",
		},
		{ref(Part{PartHost, "h1"}, Part{PartHost, "10.0.0.1"}), `HOST h1:HOST "10.0.0.1"`},
		{ref(Part{PartProperty, "a b"}), "PROPERTY a b"},
		{ref(attrib("unique12"), here("IF"), here("a b"), here("uniqueX")), `unique#:"IF":"a b":uniqueX`},
		{
			&Reference{Lazy: true, Apply: NewComponent(
				true, Attr{Name: "sfFunctionClass", Value: concat},
				Attr{Name: "unique0", Value: String("http://")}, Attr{Name: "unique1", Value: lazyIP},
			)},
			`LAZY APPLY {sfFunctionClass "` + string(concat) + `"; unique# "http://"; unique# LAZY ip; }`,
		},
		{
			&Reference{Assert: true, Apply: NewComponent(
				true, Attr{Name: "c", Value: NewComponent(true, Attr{Name: "x", Value: Long(5), Tags: []string{"a", "b c"}})},
				Attr{Name: "d", Value: NewComponent(false)}, Attr{Name: "e", Value: NewComponent(true)},
			)},
			`ASSERT {c extends DATA { [ a "b c" ] x 5L; } d extends {} e extends DATA {} }`,
		},
		{
			&Reference{Lazy: true, Apply: NewComponent(
				true,
				Attr{Name: "v", Value: Vector{Integer(1), Double(0.5), Float(1.5), Bool(true), Null{}, TBD{}, Bytes{10}, Vector{}}},
			)},
			`LAZY APPLY {v [|1, 0.5D, 1.5, true, NULL, TBD, #HEX#0A#, [||]|]; }`,
		},
		{
			&Reference{Lazy: true, Apply: NewComponent(true, Attr{Name: "s", Value: String("a  b\n\"é×ÿ\\{x}=`'😀\x00")})},
			`LAZY APPLY {s "a b\n\"é\u00D7ÿ\\{x}=` + "`" + `'\uD83D\uDE00\u0000"; }`,
		},
	} {
		if got := RefText(c.ref); got != c.want {
			t.Errorf("text is\n%s, want\n%s", got, c.want)
		}
	}
}

// TestTypedJSON holds the examples of sdl.md section 21.
func TestTypedJSON(t *testing.T) {
	for _, c := range []struct {
		v    Value
		want string
	}{
		{
			NewComponent(false, Attr{Name: "name", Value: String("shop")}, Attr{Name: "ports", Value: Vector{Integer(80), Long(443)}}, Attr{Name: "none", Value: Null{}}),
			`{"$cd":"eager","attrs":[["name","shop"],["ports",[80,{"$long":443}]],["none",null]]}`,
		},
		{Vector{Double(0.5), Float(0.5), Bytes{0xc0, 0xde}}, `[{"$double":"0.5"},{"$float":"0.5"},{"$bytes":"#HEX#C0DE#"}]`},
		{NewComponent(true, Attr{Name: "n", Value: Integer(3), Tags: []string{"a", "b"}}), `{"$cd":"data","attrs":[["n",3,["a","b"]]]}`},
		{Vector{&Reference{Lazy: true, Parts: []Part{{Kind: PartParent}, here("ip")}}, TBD{}}, `[{"$ref":"LAZY PARENT:ip"},{"$ref":"TBD"}]`},
		{NewComponent(false, Attr{Name: "unique0", Value: Integer(5)}, Attr{Name: "unique1", Value: Long(9007199254740993)}), `{"$cd":"eager","attrs":[["unique#",5],["unique#",{"$long":9007199254740993}]]}`},
		{Vector{Bool(false), Vector{Null{}}}, `[false,[null]]`},
	} {
		if got := string(TypedJSON(c.v)); got != c.want {
			t.Errorf("typed form is\n%s, want\n%s", got, c.want)
		}
	}
}

func TestPlainJSON(t *testing.T) {
	v := NewComponent(
		true, Attr{Name: "z", Value: Long(5), Tags: []string{"t"}}, Attr{Name: "a", Value: Vector{Float(0.5), Double(math.NaN()), Float(math.Inf(-1))}},
		Attr{Name: "r", Value: &Reference{Lazy: true, Parts: []Part{attrib("x")}}}, Attr{Name: "b", Value: Bytes{1}},
		Attr{Name: "t", Value: TBD{}}, Attr{Name: "unique0", Value: NewComponent(false)},
	)
	want := `{"z":5,"a":[0.5,"NaN","-Infinity"],"r":"LAZY x","b":"#HEX#01#","t":"TBD","unique0":{}}`
	if got := string(PlainJSON(v)); got != want {
		t.Errorf("plain form is\n%s, want\n%s", got, want)
	}
}

func TestSource(t *testing.T) {
	v := NewComponent(
		false,
		Attr{Name: "port", Value: Integer(80), Tags: []string{"sfFinal", "x y"}},
		Attr{Name: "THEN", Value: Vector{Float(1.5), Double(2), Long(3), TBD{}}},
		Attr{Name: "mixed", Value: Vector{NewComponent(true), Integer(1)}},
		Attr{Name: "nan", Value: Vector{Double(math.NaN()), Float(math.Inf(1)), Double(math.Inf(-1))}},
		Attr{Name: "c", Value: NewComponent(true, Attr{Name: "ip", Value: &Reference{
			Lazy: true, Optional: true, Default: String("é\"\x01\u2028"), Parts: []Part{{Kind: PartParent}, here("a b"), attrib("c")},
		}})},
		Attr{Name: "d", Value: &Reference{Lazy: true, Apply: NewComponent(true, Attr{Name: "x", Value: Null{}})}},
		Attr{Name: "e", Value: &Reference{Data: true, Parts: []Part{attrib("LAZY"), {Kind: PartProperty, Name: "p.q"}}}},
	)
	want := `extends {
  [sfFinal "x y"] port 80;
  "THEN" [| 1.5f, 2.0, 3L, TBD |];
  mixed [ (extends DATA {}), 1 ];
  nan [ CONSTANT java.lang.Double.NaN, 1.0E999f, -1.0E999 ];
  c extends DATA {
    ip LAZY OPTIONAL ("é\"\001\u2028") PARENT:HERE "a b":ATTRIB c;
  }
  d LAZY APPLY {
    x NULL;
  };
  e DATA ATTRIB "LAZY":PROPERTY p.q;
}`
	if got := Source(v); got != want {
		t.Errorf("source is\n%s, want\n%s", got, want)
	}
	if got := SourceItems(NewComponent(false, Attr{Name: "a", Value: Integer(1)})); got != "a 1;\n" {
		t.Errorf("items are %q", got)
	}
}

func TestTextOfConcatenation(t *testing.T) {
	for want, v := range map[string]Value{
		"[1, a, [2, NULL], 0.5, 0.25]": Vector{Integer(1), String("a"), Vector{Long(2), Null{}}, Double(0.5), Float(0.25)},
		"#HEX#0AFF#":                   Bytes{10, 255},
		"LAZY x":                       &Reference{Lazy: true, Parts: []Part{attrib("x")}},
		"true":                         Bool(true),
		"extends {}":                   NewComponent(false),
	} {
		if got := Text(v); got != want {
			t.Errorf("text is %s, want %s", got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, w := range []string{"a", "$", "_x", "db-port", "p++q", "a&&b", "x.y.Z", "été", "Extends", "a#", "ÿ"} {
		if !IsWord(w) {
			t.Errorf("%s is a word", w)
		}
	}
	for _, w := range []string{"", "5a", "-a", "a b", "a:b", "extends", "LAZY", "×", "a×", "日本", "a=b", "a\x00", ".a"} {
		if IsWord(w) {
			t.Errorf("%s is no word", w)
		}
	}
	for i, k := range keywords[1:] {
		if strings.Compare(keywords[i], k) >= 0 {
			t.Errorf("keywords are not sorted at %s", k)
		}
	}
}
