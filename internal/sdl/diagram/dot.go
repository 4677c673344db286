package diagram

import (
	"fmt"
	"strings"
)

// DOT returns g as text for Graphviz. Components with others inside are
// clusters.
func (g *Graph) DOT() string {
	w := dot{ends: g.ends()}
	w.line(0, "digraph %s {", dotText([]string{g.Top.Name}, ""))
	w.line(1, "compound=true;")
	w.line(1, `graph [fontname="sans-serif", fontsize=12, style="rounded,filled", color="#8a94a3", fillcolor="#f6f7f9", labeljust=l, nodesep=0.4];`)
	w.line(1, `node [fontname="sans-serif", fontsize=12, shape=box, style="rounded,filled", color="#8a94a3", fillcolor="#ffffff"];`)
	w.line(1, `edge [fontname="sans-serif", fontsize=10, color="#4a5568"];`)
	w.box(g.Top, 1)
	for _, a := range g.Arrows {
		attrs := "label=" + dotText(a.Labels, `\n`)
		if len(a.From.Boxes) > 0 {
			attrs += fmt.Sprintf(`, ltail="cluster_%d"`, a.From.number)
		}
		if len(a.To.Boxes) > 0 {
			attrs += fmt.Sprintf(`, lhead="cluster_%d"`, a.To.number)
		}
		w.line(1, "n%d -> n%d [%s];", a.From.number, a.To.number, attrs)
	}
	w.line(0, "}")
	return w.String()
}

type dot struct {
	strings.Builder
	ends map[*Box]bool
}

func (w *dot) line(depth int, format string, args ...any) {
	w.WriteString(strings.Repeat("  ", min(depth, maxIndent)))
	fmt.Fprintf(w, format+"\n", args...)
}

// maxIndent is how many levels are indented.
const maxIndent = 32

func (w *dot) box(b *Box, depth int) {
	machine := ""
	if b.Machine {
		machine = `color="#2b6cb0", fillcolor="#e3eefa", penwidth=1.6`
	}
	if len(b.Boxes) == 0 {
		if machine != "" {
			machine = ", shape=box3d, style=filled, " + machine
		}
		w.line(depth, "n%d [label=%s%s];", b.number, dotText(b.lines(), `\n`), machine)
		return
	}
	w.line(depth, "subgraph cluster_%d {", b.number)
	w.line(depth+1, "label=%s;", dotText(b.lines(), `\l`))
	if machine != "" {
		w.line(depth+1, "graph [%s];", machine)
	} else {
		w.line(depth+1, `graph [color="#8a94a3", fillcolor="#f6f7f9", penwidth=1];`)
	}
	if w.ends[b] { // an arrow needs a node, which lhead and ltail cut it back from
		w.line(depth+1, "n%d [shape=point, style=invis, width=0, height=0, label=\"\"];", b.number)
	}
	for _, c := range b.Boxes {
		w.box(c, depth+1)
	}
	w.line(depth, "}")
}

// dotText returns lines as a quoted string. \n puts the line before it in the
// middle, \l to the left; only the latter is needed behind the last.
func dotText(lines []string, end string) string {
	var b strings.Builder
	for i, line := range lines {
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(printable(line)))
		if i < len(lines)-1 || end == `\l` {
			b.WriteString(end)
		}
	}
	return `"` + b.String() + `"`
}
