package convert

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/test/plain"
)

// TestBombsAreRefusedSoon: whatever is thrown at a reader, it answers within
// bounds, and with a diagnostic where it cannot be a description.
func TestBombsAreRefusedSoon(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	if plain.Ran(t) {
		return
	}
	var aliases strings.Builder
	aliases.WriteString("a0: &a0 [x]\n")
	for i := range 40 {
		aliases.WriteString(fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i))
	}
	many := func(s string) string { return strings.Repeat(s, MaxText/len(s)) }
	for _, c := range []struct {
		name string
		form Form
		text string
		ok   bool
	}{
		{"aliases", YAML, aliases.String(), false},
		{"aliases in Compose", "compose", aliases.String() + "services: {a: {command: *a40}}\n", false},
		{"an alias within itself", "compose", "services: &s {a: {x-y: *s}}\n", false},
		{"deep JSON lists", JSON, many("["), false},
		{"deep JSON mappings", JSON, many(`{"a":`), false},
		{"deep YAML flow", YAML, many("["), false},
		{"deep YAML mappings in flow", YAML, many("{a: "), false},
		{"deep YAML lists", YAML, many("- "), false},
		{"deep YAML blocks", YAML, deepBlocks(3000), false},
		{"a long string in JSON", JSON, `{"a":"` + strings.Repeat("x", MaxText-20) + `"}`, true},
		{"a long string in YAML", YAML, `a: "` + strings.Repeat("x", MaxText-20) + `"`, true},
		{"many JSON values", JSON, `{"a":[` + strings.Repeat("1,", MaxText/2-10) + `1]}`, false},
		{"many YAML values", YAML, many("- 1\n"), false},
		{"many YAML comments", YAML, strings.Repeat("# x\n", 200_000) + "a: 1\n", true},
		{"a comment that never ends", YAML, strings.Repeat("#/* x\n", 20_000) + "a: 1\n", true},
		{"a long number", JSON, `{"a":` + strings.Repeat("9", 1<<20) + `}`, false},
		{"a long number in YAML", YAML, `a: ` + strings.Repeat("9", 1<<20), false},
		{"NUL in YAML", YAML, "a: \x00", false},
		{"NUL in JSON", JSON, "{\"a\": \"\x00\"}", false},
		{"broken UTF-8", YAML, "a: \xff", false},
		{"UTF-16", YAML, "\xff\xfea\x00", false},
		{"too long", JSON, many("x") + strings.Repeat("y", 100), false},
		{"nested variables", "compose", "services: {a: {user: '" + strings.Repeat("${a:-", 49) + strings.Repeat("}", 49) + "'}}", true},
		{"too many variables", "compose", "services: {a: {user: '" + strings.Repeat("${a:-", 1000) + "'}}", false},
		{"a long text with variables", "compose", "services: {a: {user: '" + strings.Repeat("$a", 100_000) + "'}}", false},
		{"many services that name each other", "compose", manyServices(500), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			var list diag.List
			var d *Doc
			if c.form == "compose" {
				d = Compose("t.yaml", []byte(c.text), ComposeOptions{}, &list)
			} else {
				d = Read(c.form, "t", []byte(c.text), &list)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 2<<30 {
				t.Errorf("%d MiB allocated", used>>20)
			}
			if ok := list.Errors() == 0; ok != c.ok || ok != (d != nil) {
				t.Errorf("without mistakes: %v, want %v: %.300s", ok, c.ok, messages(&list, nil))
			}
			t.Log(time.Since(begun), (after.TotalAlloc-before.TotalAlloc)>>20, "MiB")
		})
	}
}

func deepBlocks(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyServices(n int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, "  s%d:\n    command: run s%d:80 http://s%d/ %s\n", i, (i+1)%n, (i+2)%n, strings.Repeat("s1 ", 200))
	}
	return b.String()
}

// TestDeepDescriptionsKeepTheirForms: as deep as YAML goes; its text does not
// grow with the square of the depth.
func TestDeepDescriptionsKeepTheirForms(t *testing.T) {
	const depth = 900
	var list diag.List
	src := strings.Repeat("a extends {\n// c\n b 1; ", depth) + strings.Repeat("}", depth)
	d := Read(SF, "t", []byte(src), &list)
	checkForms(t, d)
	if n := len(d.Write(YAML)); n > 200*depth {
		t.Errorf("%d bytes", n)
	}
	src = "a " + strings.Repeat("[x, ", depth) + "1" + strings.Repeat("]", depth)
	checkForms(t, Read(SF, "t", []byte(src), &list))
}
