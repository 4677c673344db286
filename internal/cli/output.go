package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// formats are the values of -o.
var formats = []string{"table", "wide", "json", "yaml", "name"}

// outputFlag gives c the flag -o.
func (a *app) outputFlag(c *cobra.Command) {
	c.Flags().StringVarP(&a.format, "output", "o", "table", "form of the output: "+strings.Join(formats, ", "))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	c.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, a.format) {
			return fail("one of "+strings.Join(formats, ", "), "unknown output form %q", a.format)
		}
		return nil
	}
}

// answer is what a reading command found, ready for every form of output.
type answer struct {
	value any      // for json and yaml
	names []string // for name
	table table    // for table
	wide  table    // for wide; the zero table: as table
	empty string   // said instead of a table without rows
}

func (a *app) print(ans answer) error {
	switch a.format {
	case "json":
		return a.json(ans.value)
	case "yaml":
		return a.yaml(ans.value)
	case "name":
		for _, n := range ans.names {
			fmt.Fprintln(a.Stdout, n)
		}
		return nil
	}
	t := ans.table
	if a.format == "wide" && ans.wide.head != nil {
		t = ans.wide
	}
	if len(t.rows) == 0 {
		fmt.Fprintln(a.Stdout, ans.empty)
		return nil
	}
	return t.write(a.Stdout, a.palette(a.Stdout))
}

func (a *app) json(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// yaml prints v with the names and order it has in JSON. JSON is YAML, so its
// text is read as such and written in block style.
func (a *app) yaml(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	block(&doc)
	out, err := yaml.Marshal(&doc)
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = a.Stdout.Write(out)
	return err
}

func block(n *yaml.Node) {
	empty := len(n.Content) == 0 && (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode)
	if !empty {
		n.Style = 0
	}
	for _, c := range n.Content {
		block(c)
	}
}

// table is aligned columns.
type table struct {
	head []string
	rows [][]string
	// state is the index of the column that is coloured by its word, or 0.
	state int
}

func (t table) write(w io.Writer, p palette) error {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	line := func(row []string, paint func(i int, cell string) string) {
		var l strings.Builder
		for i, cell := range row {
			l.WriteString(paint(i, cell))
			if i < len(row)-1 {
				l.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(t.head, func(_ int, cell string) string { return p.bold(cell) })
	for _, row := range t.rows {
		line(row, func(i int, cell string) string {
			if i == t.state && i > 0 {
				return p.state(cell)
			}
			return cell
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// orDash shows that there is nothing to show.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count is "1 machine", "2 machines", "no machines".
func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + "s"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
