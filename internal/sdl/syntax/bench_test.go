package syntax

import (
	"fmt"
	"strings"
	"testing"

	"aloft/internal/sdl/diag"
)

// large is a description of n components like those people write.
func large(n int) []byte {
	var b strings.Builder
	b.WriteString("Web extends Prim { port 80; host LAZY PARENT:ip; }\nsfConfig extends {\n")
	for i := range n {
		fmt.Fprintf(&b, "  web%d extends Web { // one of many\n    name \"web-%d\"; port %d; weight 0.5;\n"+
			"    url (\"http://\" ++ host ++ \":\" ++ port); db ATTRIB sfConfig:db%d;\n  }\n", i, i, 1024+i, i%7)
	}
	b.WriteString("}\n")
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		src := large(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				var list diag.List
				Parse("x", src, &list)
				if list.Errors() > 0 {
					b.Fatal(messages(&list, string(src)))
				}
			}
		})
	}
}

func BenchmarkPrint(b *testing.B) {
	var list diag.List
	f := Parse("x", large(1000), &list)
	b.ReportAllocs()
	for b.Loop() {
		Print(f)
	}
}
