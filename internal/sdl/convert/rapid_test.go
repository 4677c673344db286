package convert

import (
	"math"
	"testing"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"

	"pgregory.net/rapid"
)

// TestGeneratedTreesSurviveEveryForm: names, texts and numbers of all kinds in
// every place a tree has for them.
func TestGeneratedTreesSurviveEveryForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &syntax.File{Name: "t", Wrapped: rapid.Bool().Draw(t, "wrapped"), Items: genItems(t, 3)}
		src := syntax.Print(f)
		var list diag.List
		d := Read(SF, "t", []byte(src), &list)
		if list.Errors() > 0 {
			t.Fatalf("generated what is wrong:\n%s\n%s", src, messages(&list, []byte(src)))
		}
		comments(t, d, f)
		checkForms(t, read(t, SF, d.Write(SF)))
	})
}

// comments puts some into d.
func comments(t *rapid.T, d *Doc, f *syntax.File) {
	text := rapid.SampledFrom([]string{"// one", "//two", "/* three */", "/* four\n\t * five\n*/", "///six", "///* seven", "// # eight: [", "//"})
	for _, item := range d.File.Items {
		n := d.of(item)
		n.above = rapid.SliceOfN(text, 0, 2).Draw(t, "above")
		n.behind = rapid.SliceOfN(text, 0, 1).Draw(t, "behind")
		if a, ok := item.(*syntax.Attribute); ok {
			if c, ok := a.Value.(*syntax.Component); ok && c.Op == syntax.NotOp && lastBody(c) != nil {
				d.of(lastBody(c)).last = rapid.SliceOfN(text, 0, 2).Draw(t, "last")
			}
		}
	}
	d.of(d.File).last = rapid.SliceOfN(text, 0, 1).Draw(t, "end")
}

var (
	genWord = rapid.SampledFrom([]string{"a", "port", "db-port", "$x", "p++q", "#no"[1:], "x.y.Z", "é", "null", "yes", "on", "_", "a&&b"})
	genText = rapid.OneOf(
		rapid.String(),
		rapid.SampledFrom([]string{
			"", " ", "a b", "a: b", "a #2", "- x", "yes", "null", "~", "1", "1.5", "0644", "2001-01-01", "[", "{a}", "'", `"`, "\\", "a\nb", "a\n\n", "\n", " a\nb",
			"a \nb", "\u2028", "\ufeff", "\x00", "\u0085x", "<<", "$extends", "$", "--", "x:y", "http://a/b", "a\tb", "?", "!x", "&x", "*x", "%x", "@x", "`x", "a,b", "#x", "a\r\nb", "|", ">", "# x\n# y", "---", "...",
		}))
	genLink = rapid.SampledFrom([][]value.Part{
		{{Kind: value.PartAttrib, Name: "VM"}},
		{{Kind: value.PartAttrib, Name: "a"}, {Kind: value.PartHere, Name: "b"}},
		{{Kind: value.PartRoot}, {Kind: value.PartHere, Name: "a b"}},
		{{Kind: value.PartParent}, {Kind: value.PartAttrib, Name: "x"}},
		{{Kind: value.PartHere, Name: "LAZY"}},
	})
)

func genItems(t *rapid.T, depth int) []syntax.Item {
	var items []syntax.Item
	for range rapid.IntRange(0, 4).Draw(t, "items") {
		if rapid.IntRange(0, 5).Draw(t, "include") == 0 {
			inc := &syntax.Include{File: genText.Draw(t, "file"), Optional: rapid.Bool().Draw(t, "optional")}
			if rapid.IntRange(0, 3).Draw(t, "codebase") == 0 {
				inc.HasCodebase, inc.Codebase = true, genText.Draw(t, "place")
			}
			items = append(items, inc)
			continue
		}
		a := &syntax.Attribute{Tags: rapid.SliceOfN(genText, 0, 2).Draw(t, "tags"), Path: rapid.SliceOfN(genWord, 0, 2).Draw(t, "path")}
		switch rapid.IntRange(0, 4).Draw(t, "name") {
		case 0:
			a.Fresh = true
		case 1:
			a.Name = genText.Draw(t, "text")
		default:
			a.Name = genWord.Draw(t, "word")
		}
		a.Value = genValue(t, depth)
		items = append(items, a)
	}
	return items
}

func genValue(t *rapid.T, depth int) syntax.Expr {
	if depth <= 0 {
		return genLiteral(t)
	}
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 0, 1, 2:
		return genComponent(t, depth)
	case 3:
		return &syntax.Reference{Lazy: rapid.Bool().Draw(t, "lazy"), Optional: rapid.Bool().Draw(t, "optional"), Parts: genLink.Draw(t, "link")}
	case 4:
		v := &syntax.Vector{}
		for range rapid.IntRange(0, 3).Draw(t, "elems") {
			v.Elems = append(v.Elems, genLiteral(t))
		}
		return v
	case 5:
		var elems []syntax.Expr
		for range rapid.IntRange(0, 3).Draw(t, "elems") {
			elems = append(elems, genValue(t, depth-1))
		}
		return vectorOf(diag.Span{}, elems)
	case 6:
		return &syntax.Reference{Lazy: true, Assert: rapid.Bool().Draw(t, "assert"), Apply: &syntax.Body{Items: genItems(t, depth-1)}}
	default:
		return genLiteral(t)
	}
}

func genComponent(t *rapid.T, depth int) syntax.Expr {
	c := &syntax.Component{Data: rapid.Bool().Draw(t, "data")}
	for range rapid.IntRange(1, 3).Draw(t, "protos") {
		switch rapid.IntRange(0, 3).Draw(t, "proto") {
		case 0:
			c.Protos = append(c.Protos, syntax.Proto{})
		case 1:
			c.Protos = append(c.Protos, syntax.Proto{Link: genLink.Draw(t, "link")})
		default:
			c.Protos = append(c.Protos, syntax.Proto{Body: &syntax.Body{Items: genItems(t, depth-1)}})
		}
	}
	return c
}

func genLiteral(t *rapid.T) syntax.Expr {
	values := rapid.SampledFrom([]value.Value{
		value.Null{},
		value.Bool(true), value.Integer(-5), value.Integer(math.MaxInt32), value.Long(9007199254740993), value.Float(1.5), value.Double(0.25),
		value.Double(1e300), value.Double(math.Inf(1)), value.Double(math.Copysign(0, -1)), value.Double(2.5e-4),
		value.Bytes{0, 255},
		value.Bytes{},
		value.TBD{},
	})
	if rapid.Bool().Draw(t, "string") {
		return &syntax.Literal{Value: value.String(genText.Draw(t, "value"))}
	}
	return &syntax.Literal{Value: values.Draw(t, "literal")}
}
