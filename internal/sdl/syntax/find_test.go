package syntax

import (
	"fmt"
	"testing"

	"aloft/value"
)

func TestAValueIsFoundAtItsFirstCharacter(t *testing.T) {
	f, list := parse(t, `a extends B, { x LAZY b:c; y [1, LAZY d:e]; }, C { z APPLY { sfFunctionClass "F"; p LAZY f; }; }
  o LAZY OPTIONAL(1) i;       s ("t" ++
    LAZY PARENT:u);
`)
	if list.Errors() > 0 {
		t.Fatalf("%+v", list.All())
	}
	for _, c := range []struct {
		line, col int
		want      string
	}{
		{1, 18, "1:18-1:26"},
		{1, 34, "1:34-1:42"},
		{1, 85, "1:85-1:91"},
		{2, 5, "2:5-2:23"},
		{3, 5, "3:5-3:18"},
		{2, 3, "2:3-0:0"}, // a name
		{9, 9, "9:9-0:0"},
	} {
		s := f.At(value.Pos{File: "t.sf", Line: c.line, Col: c.col})
		if got := fmt.Sprintf("%d:%d-%d:%d", s.Pos.Line, s.Pos.Col, s.EndLine, s.EndCol); got != c.want {
			t.Errorf("%d:%d is in %s, want %s", c.line, c.col, got, c.want)
		}
	}
}
