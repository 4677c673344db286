package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"aloft/api"
)

// changed is what a plan does to one component: all its steps together.
type changed struct {
	api.Step
	actions []string
}

// changes groups the steps of p by component, in the order of the first step.
func changes(p *api.Plan) []*changed {
	var list []*changed
	at := map[string]*changed{}
	for _, s := range p.Steps {
		c := at[s.Path]
		if c == nil {
			c = &changed{Step: s}
			at[s.Path] = c
			list = append(list, c)
		}
		c.actions = append(c.actions, s.Action)
		if c.Machine == "" {
			c.Machine = s.Machine
		}
		if c.Reason == "" {
			c.Reason = s.Reason
		}
		if len(c.Attributes) == 0 {
			c.Attributes = s.Attributes
		}
	}
	return list
}

// writePlan shows a plan that is not empty. Attributes of new components are
// shown only if wide.
func writePlan(w io.Writer, p *api.Plan, pal palette, wide bool) error {
	var b strings.Builder
	planTitle(&b, p, pal)
	list := changes(p)
	var width [2]int
	for _, c := range list {
		width[0] = max(width[0], utf8.RuneCountInString(c.Path))
		width[1] = max(width[1], utf8.RuneCountInString(c.Class))
	}
	for _, c := range list {
		tail := ""
		if c.Machine != "" {
			tail = "on " + c.Machine
		}
		if c.Reason != "" {
			tail = strings.TrimSpace(tail + "  " + pal.faint("("+c.Reason+")"))
		}
		sign := fmt.Sprintf("%3s", c.Change)
		line := fmt.Sprintf("%s %-*s  %-*s  %s", pal.change(c.Change, sign), width[0], c.Path, width[1], c.Class, tail)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if c.Change != api.ChangeAdd && c.Change != api.ChangeRemove || wide {
			for _, attr := range c.Attributes {
				b.WriteString("      " + attribute(attr, pal) + "\n")
			}
		}
	}
	planMachines(&b, p, pal)
	planData(&b, p, pal)
	var late []string
	for _, e := range p.Late {
		line := fmt.Sprintf("%s waits for %s", e.From, e.To)
		if e.Attribute != "" {
			line += ": " + e.Attribute + " refers to it"
		}
		late = append(late, line)
	}
	section(&b, "Late references:", late)
	section(&b, "Notes:", p.Notes)
	b.WriteString("\n" + planSum(list, p) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func planTitle(b *strings.Builder, p *api.Plan, pal palette) {
	switch {
	case p.Part != "":
		fmt.Fprintf(b, "Terminate %s, which was detached from %s\n", pal.bold(p.Part), p.System)
	case p.Detaches != nil:
		fmt.Fprintf(b, "Detach %s from %s: it runs on as system %s\n", pal.bold(p.Detaches.Path), p.System, pal.bold(p.Detaches.Name))
	case p.Down:
		fmt.Fprintf(b, "Terminate %s, revision %d\n", pal.bold(p.System), p.Base)
	case p.Base == 0:
		fmt.Fprintf(b, "Deploy %s, a new system\n", pal.bold(p.System))
	default:
		fmt.Fprintf(b, "Update %s from revision %d to %d\n", pal.bold(p.System), p.Base, p.Revision)
	}
	if p.OldFile != "" && p.OldFile != p.File {
		fmt.Fprintf(b, "The running revision came from another file: %s\n", p.OldFile)
	}
	b.WriteString("\n")
}

// attribute is one attribute's change; a secret shows only that it changes.
func attribute(c api.AttrChange, pal palette) string {
	switch {
	case c.Secret:
		return c.Name + "  (secret)"
	case c.Old == "":
		return c.Name + "  " + pal.green(oneLine(c.New))
	case c.New == "":
		return c.Name + "  " + pal.red(oneLine(c.Old)) + " -> (none)"
	}
	was, is := apart(c.Old, c.New)
	return c.Name + "  " + pal.red(was) + " -> " + pal.green(is)
}

// apart returns two values, a line each, of which so much is shown that they
// differ: long ones often begin alike.
func apart(was, is string) (string, string) {
	a, b := []rune(strings.Join(strings.Fields(was), " ")), []rune(strings.Join(strings.Fields(is), " "))
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := max(0, same-maxShown/3)
	if same < maxShown/2 || len(a) <= maxShown && len(b) <= maxShown {
		from = 0
	}
	cut := func(r []rune) string {
		if from == 0 {
			return oneLine(string(r))
		}
		return "…" + oneLine(string(r[from:]))
	}
	return cut(a), cut(b)
}

// maxShown is how many characters of a value a plan shows.
const maxShown = 72

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxShown {
		return string(r[:maxShown-1]) + "…"
	}
	return s
}

// section writes lines under a title, or nothing.
func section(b *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		b.WriteString("\n" + title + "\n")
	}
	for _, l := range lines {
		b.WriteString("  " + l + "\n")
	}
}

func planMachines(b *strings.Builder, p *api.Plan, pal palette) {
	if len(p.Machines) == 0 {
		return
	}
	b.WriteString("\nMachines:\n")
	var width [4]int
	rows := make([][4]string, len(p.Machines))
	for i, m := range p.Machines {
		rows[i] = [4]string{p.System + "/" + m.Path, m.Provider, m.Template, m.Size}
		for j, cell := range rows[i] {
			width[j] = max(width[j], utf8.RuneCountInString(cell))
		}
	}
	for i, m := range p.Machines {
		price := m.Price
		if price == "" {
			price = "free"
		}
		if m.Change == api.ChangeRemove {
			price = ""
		}
		var line strings.Builder
		line.WriteString(pal.change(m.Change, fmt.Sprintf("%3s", m.Change)) + " ")
		for j, cell := range rows[i] {
			if width[j] > 0 {
				fmt.Fprintf(&line, "%-*s  ", width[j], cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String()+price, " ") + "\n")
	}
}

// planData tells of data that would be destroyed.
func planData(b *strings.Builder, p *api.Plan, pal palette) {
	if len(p.Data) > 0 {
		b.WriteString("\n")
	}
	for _, d := range p.Data {
		line := pal.red("! data") + " " + d.Path
		if d.Directory != "" {
			line += "  " + d.Directory
		}
		if d.Machine != "" {
			line += " on " + d.Machine
		}
		if d.Size > 0 {
			line += "  " + sizeText(d.Size)
		}
		line += "  " + pal.faint("("+d.Why+")")
		switch {
		case d.Allowed:
			line += "  allowed"
		case d.Spare:
			line += "  its primary has all of it"
		}
		b.WriteString(line + "\n")
	}
}

// sizeText is a size as people read it: "12.3 MB".
func sizeText(n int64) string {
	for i, unit := range []string{"GB", "MB", "kB"} {
		if size := float64(n) / float64([]int64{1e9, 1e6, 1e3}[i]); size >= 1 {
			return fmt.Sprintf("%.1f %s", size, unit)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// planSum is "2 to add, 1 to change; 1 machine to create".
func planSum(list []*changed, p *api.Plan) string {
	sum := func(n map[api.Change]int, words [4]string) string {
		var parts []string
		for i, c := range []api.Change{api.ChangeAdd, api.ChangeUpdate, api.ChangeReplace, api.ChangeRemove} {
			if n[c] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n[c], words[i]))
			}
		}
		return strings.Join(parts, ", ")
	}
	components, machines := map[api.Change]int{}, map[api.Change]int{}
	for _, c := range list {
		components[c.Change]++
	}
	for _, m := range p.Machines {
		machines[m.Change]++
	}
	if len(list) == 0 {
		return "Nothing is stopped or started."
	}
	text := "Components: " + sum(components, [4]string{"to add", "to change", "to replace", "to remove"}) + "."
	if m := sum(machines, [4]string{"to create", "to change", "to replace", "to destroy"}); m != "" {
		text += " Machines: " + m + "."
	}
	return text
}
