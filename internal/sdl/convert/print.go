package convert

import (
	"strings"

	"aloft/internal/sdl/syntax"
)

// writeSF is the text of d in the language.
func writeSF(d *Doc) []byte {
	return []byte(syntax.PrintWith(d.File, func(x any) syntax.Beside {
		n := d.look(x)
		return syntax.Beside{Above: n.above, Behind: n.behind, Last: n.last}
	}))
}

// maxIndent keeps a text from growing with the square of its depth.
const maxIndent = 32

// protoText is what stands between extends and the last body of c.
func protoText(c *syntax.Component) string {
	short := *c
	short.Protos = append(append([]syntax.Proto(nil), c.Protos[:len(c.Protos)-1]...), syntax.Proto{Body: &syntax.Body{}})
	text := syntax.PrintValue(&short)
	text = strings.TrimPrefix(text, "extends ")
	text = strings.TrimSuffix(text, "{}")
	return strings.TrimRight(text, " ")
}

// itemText is the text of one item.
func itemText(item syntax.Item) string {
	return strings.TrimSuffix(syntax.Print(&syntax.File{Items: []syntax.Item{item}}), "\n")
}

// head is what stands before the value of a.
func head(a *syntax.Attribute) string {
	short := *a
	short.Value = &syntax.Reference{}
	text := itemText(&short)
	return strings.TrimSuffix(text, " ;")
}
