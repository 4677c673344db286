package diagram

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mermaid returns g as a flowchart for Mermaid. Components with others inside
// are subgraphs.
func (g *Graph) Mermaid() string {
	w := mermaid{}
	w.line(0, "flowchart TB")
	w.box(g.Top, 1)
	for _, a := range g.Arrows {
		w.line(1, `n%d -->|"%s"| n%d`, a.From.number, mermaidText(a.Labels), a.To.number)
	}
	w.line(1, "classDef machine fill:#e3eefa,stroke:#2b6cb0,stroke-width:2px,color:#1a202c")
	if len(w.machines) > 0 {
		w.line(1, "class %s machine", strings.Join(w.machines, ","))
	}
	return w.String()
}

type mermaid struct {
	strings.Builder
	machines []string
}

func (w *mermaid) line(depth int, format string, args ...any) {
	w.WriteString(strings.Repeat("  ", min(depth, maxIndent)))
	fmt.Fprintf(w, format+"\n", args...)
}

func (w *mermaid) box(b *Box, depth int) {
	if b.Machine {
		w.machines = append(w.machines, fmt.Sprintf("n%d", b.number))
	}
	label := mermaidText(b.lines())
	if len(b.Boxes) == 0 {
		w.line(depth, `n%d["%s"]`, b.number, label)
		return
	}
	w.line(depth, `subgraph n%d["%s"]`, b.number, label)
	for _, c := range b.Boxes {
		w.box(c, depth+1)
	}
	w.line(depth, "end")
}

// mermaidText returns lines as the content of a quoted text. Whatever means
// something to Mermaid, to Markdown or to HTML is written by its number.
func mermaidText(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteString("<br/>")
		}
		for _, r := range printable(line) {
			if r >= utf8.RuneSelf || unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" .,:-", r) {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, "#%d;", r)
			}
		}
	}
	return b.String()
}
