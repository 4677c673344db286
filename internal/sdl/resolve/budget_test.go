package resolve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aloft/internal/sdl/diag"
	"aloft/test/plain"
)

// repeat writes format n times, with the number of each for #, and the next
// for #1.
func repeat(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.NewReplacer("#1", fmt.Sprint(i+1), "#", fmt.Sprint(i)).Replace(format))
	}
	return b.String()
}

func nestText(n int, open, core, end string) string {
	return strings.Repeat(open, n) + core + strings.Repeat(end, n)
}

// config writes the attribute a of sfConfig.
func config(a string) string { return "sfConfig extends { a " + a + "; }" }

// hostile are texts that a resolver without bounds would run on for ever, or
// end by. A case gives the code of the error and a part of what the excerpt at
// its place has to say; no code means that the text resolves.
var hostile = []struct {
	name string
	text func() string
	code diag.Code
	at   string
}{
	{"extends doubles", func() string {
		return "a0 extends { x 1; }\n" + repeat(60, "a#1 extends { l extends a#; r extends a#; }\n") + "sfConfig extends a60;"
	}, diag.TooDeep, "a21 extends"},
	{"extends doubles around references", func() string {
		return "y 1; a0 extends { x y; }\n" + repeat(60, "a#1 extends { l extends a#; r extends a#; }\n") + "sfConfig extends a60;"
	}, diag.TooDeep, "a21 extends"},
	{"extends doubles below the bound", func() string {
		return "y 1; a0 extends { x y; }\n" + repeat(20, "a#1 extends { l extends a#; r extends a#; }\n") + "sfConfig extends a20;"
	}, diag.TooDeep, "extends"},
	{"extends doubles in functions", func() string {
		return "#include \"functions.sf\"\ny 1; a0 extends vector { x y; }\n" + repeat(60, "a#1 extends vector { l extends a#; r extends a#; }\n") + "sfConfig extends { v extends a60; }"
	}, diag.TooDeep, "a20 extends"},
	{"links double", func() string {
		return "a0 extends { x 1; }\n" + repeat(60, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x a60; }"
	}, diag.TooDeep, "a19 extends"},
	{"links double, components to deploy", func() string {
		return "a0 extends { }\n" + repeat(60, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x a60; y LAZY x; }"
	}, diag.TooDeep, "a19 extends"},
	{"links double just below the bound", func() string {
		return "a0 extends { }\n" + repeat(18, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x a18; y LAZY x; }"
	}, "", ""},
	{"vectors double by links", func() string {
		return "a0 1;\n" + repeat(60, "a#1 [ a#, a# ];\n") + "sfConfig extends { x a60; }"
	}, diag.TooDeep, "a22 ["},
	{"vectors double by <>", func() string {
		return "a0 [| 1 |];\n" + repeat(60, "a#1 (a# <> a#);\n") + "sfConfig extends { x a60; }"
	}, diag.TooDeep, "<>"},
	{"vectors compared", func() string {
		return "a0 1; b0 1;\n" + repeat(60, "a#1 [ a#, a# ]; b#1 [ b#, b# ];\n") + "sfConfig extends { x (a60 == b60); }"
	}, diag.TooDeep, "a60 == b60"},
	{"components compared", func() string {
		return "a0 extends {}\n" + repeat(60, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x (a60 == a59); }"
	}, diag.TooDeep, "a60 == a59"},
	{"components written as text", func() string {
		return "a0 extends {}\n" + repeat(60, "a#1 extends { l a#; r a#; }\n") + "sfConfig extends { x (\"\" ++ a60); }"
	}, diag.TooDeep, "a60"},
	{"text doubles", func() string {
		return "a0 \"x\";\n" + repeat(60, "a#1 (a# ++ a#);\n") + "sfConfig extends { x a60; }"
	}, diag.TooDeep, "++"},
	{"formatString doubles", func() string {
		return "#include \"functions.sf\"\na0 \"x\";\n" + repeat(60, "a#1 extends formatString { format \"$0$0\"; s0 ROOT:a#; }\n") + "sfConfig extends { x a60; }"
	}, diag.TooDeep, "formatString"},
	{"formatString with many places", func() string {
		return "#include \"functions.sf\"\nlong ##" + strings.Repeat("0123456789abcdef", 1<<16) + "#;\nsfConfig extends { x extends formatString { format \"" + strings.Repeat("$0", 100_000) + "\"; s0 ROOT:long; } }"
	}, diag.TooDeep, "formatString"},
	{"a Set of Sets", func() string {
		return "#include \"functions.sf\"\nsfConfig extends { s extends Set { setSize 100000; setElem extends { v extends Set { setSize 100000; setElem extends {} } } } }"
	}, diag.TooDeep, "Set"},
	{"Sets of large components", func() string {
		return "#include \"functions.sf\"\nE extends { " + repeat(1000, "a# #; ") + "}\nsfConfig extends { s extends Set { setSize 100000; setElem extends E; } }"
	}, diag.TooDeep, "Set"},
	{"references in a chain", func() string {
		return "a0 1;\n" + repeat(100_000, "a#1 a#;\n") + "sfConfig extends { x a100000; }"
	}, diag.TooDeep, "a80000 a79999"},
	{"references in a cycle", func() string { return repeat(15_000, "a# a#1;\n") + "a15000 a0; sfConfig extends { x a0; }" }, diag.ReferenceCycle, ""},
	{"prototypes in a chain", func() string {
		return "a0 extends { x 1; }\n" + repeat(100_000, "a#1 extends a#;\n") + "sfConfig extends a100000;"
	}, "", ""},
	{"prototypes in a chain, last first", func() string {
		return "sfConfig extends a0;\n" + repeat(100_000, "a# extends a#1;\n") + "a100000 extends {}"
	}, diag.TooDeep, "extends a"},
	{"prototypes in a chain, each in the next", func() string {
		return "a0 extends {}\n" + repeat(100_000, "a#1 extends { l extends a#; }\n") + "sfConfig extends { x extends a100000; }"
	}, diag.TooDeep, "extends"},
	{"prototypes in a chain, each longer", func() string {
		return "a0 extends {}\n" + repeat(10_000, "a#1 extends a# { x# 1; }\n") + "sfConfig extends a10000;"
	}, diag.TooDeep, "extends a"},
	{"links in a chain", func() string {
		return "a0 extends {}\n" + repeat(100_000, "a#1 extends { l a#; }\n") + "sfConfig extends { x a100000; }"
	}, diag.TooDeep, "extends { l"},
	{"an heir in its template by a link", func() string { return "sfConfig extends { a extends { l b; } b extends a; }" }, diag.ReferenceCycle, ""},
	{"lazy vectors double", func() string { return "sfConfig extends { a0 1;\n" + repeat(60, "a#1 [ LAZY a#, LAZY a# ];\n") + "}" }, "", ""},
	{"path names wait for one another", func() string { return "sfConfig extends {\n" + repeat(3_000, "a#:b 1;\n") + "}" }, diag.PlaceNotFound, ""},
	{"path names reach one another in turn", func() string {
		return "sfConfig extends {\n" + repeat(3_000, "a:b"+"#1:c 1; a:b#1 extends {}\n") + "a extends {} }"
	}, "", ""},
	{"bodies", func() string { return "sfConfig " + nestText(9_900, "extends { a ", "1;", "}") }, "", ""},
	{"parentheses", func() string { return config(nestText(9_900, "(", "1", ")")) }, "", ""},
	{"operators", func() string { return config(nestText(9_900, "(1 + ", "1", ")")) }, "", ""},
	{"not", func() string { return config(nestText(9_900, "(! ", "true", ")")) }, "", ""},
	{"vectors", func() string { return config(nestText(9_900, "[", "1", "]")) }, "", ""},
	{"literal vectors", func() string { return config(nestText(9_900, "[|", "1", "|]")) }, "", ""},
	{"IF", func() string { return config(nestText(9_900, "IF true THEN ", "1", " ELSE 2 FI")) }, "", ""},
	{"SWITCH", func() string { return config(nestText(9_900, "SWITCH IF true THEN ", "1", " ENDSWITCH")) }, "", ""},
	{"APPLY", func() string {
		return config(nestText(9_900, "APPLY { sfFunctionClass \"org.smartfrog.sfcore.languages.sf.functions.Vector\"; a ", "1;", "}"))
	}, "", ""},
	{"OPTIONAL", func() string { return config(nestText(9_900, "OPTIONAL ([| DATA ", "OPTIONAL (1) x", " |]) x")) }, "", ""},
	{"one level too many", func() string { return config(nestText(10_001, "(", "1", ")")) }, diag.TooDeep, "("},
	{"many names below a deep nest", func() string {
		return "sfConfig " + nestText(9_900, "extends { a ", "extends { "+repeat(50_000, "b# extends {} ")+" x LAZY y; }", "}")
	}, diag.TooDeep, "extends"},
	{"many references below a deep nest", func() string {
		return "sfConfig " + nestText(9_900, "extends { a ", "extends { "+repeat(15_000, "b# LAZY y:z; ")+" }", "}")
	}, "", ""},
	{"many links below a deep nest", func() string {
		return "sfConfig " + nestText(9_900, "extends { a ", "extends { b extends {} "+repeat(50_000, "c# b; ")+"}", "}")
	}, diag.TooDeep, "b; c"},
	{"many mistakes below a deep nest", func() string {
		return "sfConfig " + nestText(9_900, "extends { a ", "extends { "+repeat(50_000, "b# y:z; ")+" }", "}")
	}, diag.ReferenceNotFound, ""},
	{"a string of 16 MB", func() string { return config("##" + strings.Repeat("0123456789abcde\n", 1<<20) + "#") }, "", ""},
	{"16 MB of {", func() string { return strings.Repeat("{", 16<<20) }, diag.Unexpected, ""},
	{"16 MB of a {", func() string { return "x extends { " + strings.Repeat("a extends {", 16<<20/11) }, diag.TooDeep, "extends"},
	{"16 MB of attributes", func() string { return "sfConfig extends {" + strings.Repeat("a 1;", 4<<20) + "}" }, diag.TooDeep, "a 1;"},
	{"4 MB of references", func() string { return "sfConfig extends {" + strings.Repeat("a LAZY b:c:d;", 4<<20/13) + "}" }, "", ""},
	{"16 MB of operands", func() string { return config("(0" + strings.Repeat(" + 1", 4<<20) + ")") }, diag.TooDeep, "+"},
	{"16 MB of elements", func() string { return config("[| 1" + strings.Repeat(",1", 8<<20) + "|]") }, diag.TooDeep, "[|"},
	{"8 MB of comments", func() string { return strings.Repeat("//\n", 8<<20/3) + config("1") }, "", ""},
	{"500,000 attributes", func() string { return "sfConfig extends {" + repeat(500_000, "a# #;\n") + "}" }, "", ""},
	{"300,000 tags", func() string { return "sfConfig extends { [" + repeat(300_000, "t# ") + "] a 1; }" }, "", ""},
	{"a path name of 1,000,000 steps", func() string { return "sfConfig extends { " + strings.Repeat("a:", 1_000_000) + "b 1; }" }, diag.PlaceNotFound, ""},
	{"a reference of 1,000,000 steps", func() string { return "sfConfig extends { b " + strings.Repeat("THIS:", 1_000_000) + "c; c 1; }" }, "", ""},
	{"a schema of 20,000 elements", func() string {
		return "#include \"functions.sf\"\n#include \"predicates.sf\"\nT extends { " + repeat(20_000, "a# #;\n") + " s extends Schema { " + repeat(20_000, "a# extends Integer;\n") + "} }\nsfConfig extends { " + repeat(20, "c# extends T;") + "}"
	}, "", ""},
	{"a schema of 20,000 elements that nothing meets", func() string {
		return "#include \"functions.sf\"\n#include \"predicates.sf\"\nT extends { " + repeat(20_000, "b# #;\n") + " s extends Schema { " + repeat(20_000, "a# extends Integer;\n") + "} }\nsfConfig extends { " + repeat(5, "c# extends T;") + "}"
	}, diag.SchemaFailed, ""},
	{"20,000 names like others", func() string {
		return "sfConfig extends { " + repeat(20_000, "name# 1; ") + repeat(20_000, "r# nam#; ") + "}"
	}, diag.ReferenceNotFound, ""},
	{"a long property parsed often", func() string {
		return "sfConfig extends { " + repeat(20_000, "a# IPROPERTY long;\n") + "}"
	}, diag.TooDeep, "IPROPERTY"},
	{"includes double", func() string { return "#include \"f0.sf\"\nsfConfig extends {}" }, diag.TooDeep, "#include"},
	{"includes in a chain", func() string { return "#include \"g0.sf\"\nsfConfig extends {}" }, diag.TooDeep, "#include \"g1000.sf\""},
	{"includes by the thousand below a deep chain", func() string { return "#include \"d0-0.sf\"\nsfConfig extends {}" }, "", ""},
	{"includes with mistakes below a deep chain", func() string { return "#include \"d1-0.sf\"\nsfConfig extends {}" }, diag.Unexpected, "}"},
	{"a codebase of 1,000,000 places", func() string {
		return "#codebase \"" + strings.Repeat("a ", 1_000_000) + "\" #include \"none.sf\"\nsfConfig extends {}"
	}, diag.TooDeep, "#codebase"},
	{"20,000 OPTIONAL references to nothing", func() string {
		return "sfConfig extends { " + repeat(20_000, "name# 1; ") + repeat(20_000, "r# OPTIONAL (1) nam#; ") + "}"
	}, "", ""},
	{"20,000 heirs with the same mistake", func() string {
		return "T extends { " + repeat(200, "name# 1; ") + "r PARENT:nam; }\nsfConfig extends { " + repeat(20_000, "name# extends T; ") + "}"
	}, diag.ReferenceNotFound, ""},
	{"20,000 LAZY references to nothing", func() string {
		return "sfConfig extends { " + repeat(20_000, "name# 1; ") + repeat(20_000, "r# LAZY HERE nam#; ") + "}"
	}, "", ""},
}

// hostileOptions are what the case called name is resolved with.
func hostileOptions(name string) (Folder, Options) {
	opts := Options{Properties: map[string]string{"long": "[| 1" + strings.Repeat(", 1", 10_000) + "|]"}}
	files := fstest.MapFS{}
	if !strings.HasPrefix(name, "includes") {
		return Folder{FS: files}, opts
	}
	for i := range 60 {
		files[fmt.Sprintf("f%d.sf", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "#include \"f%d.sf\"\n#include \"f%d.sf\"\n", i+1, i+1)}
	}
	files["f60.sf"] = &fstest.MapFile{Data: []byte("a 1;")}
	for i := range 10_000 {
		files[fmt.Sprintf("g%d.sf", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "#include \"g%d.sf\"\n", i+1)}
	}
	files["g10000.sf"] = &fstest.MapFile{Data: []byte("a 1;")}
	many, wrong := strings.Builder{}, strings.Builder{}
	for i := range 10_000 {
		fmt.Fprintf(&many, "#include \"h%d.sf\"\n", i)
		fmt.Fprintf(&wrong, "#include \"w%d.sf\"\n", i)
		files[fmt.Sprintf("h%d.sf", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "b%d 1;", i)}
		files[fmt.Sprintf("w%d.sf", i)] = &fstest.MapFile{Data: []byte("}")}
	}
	files["many.sf"] = &fstest.MapFile{Data: []byte(many.String())}
	files["wrong.sf"] = &fstest.MapFile{Data: []byte(wrong.String())}
	for i, end := range []string{"many.sf", "wrong.sf"} { // each 990 includes deep
		for j := range 990 {
			next := fmt.Sprintf("d%d-%d.sf", i, j+1)
			if j == 989 {
				next = end
			}
			files[fmt.Sprintf("d%d-%d.sf", i, j)] = &fstest.MapFile{Data: fmt.Appendf(nil, "#include %q\n", next)}
		}
	}
	return Folder{FS: files}, opts
}

// The bounds: of the processor time, and of the memory of the whole process.
const (
	hostileTime   = 10 * time.Second
	hostileMemory = 1792 << 20
)

// outcomeOf is what a child process tells of a case.
type outcomeOf struct {
	Code    diag.Code
	Message string
	Line    string // the text from the place on
	Phase   string
	Memory  int // the most that the process had, in bytes
}

// childCase says, in the environment, which case a child process runs.
const childCase = "ALOFT_TEST_HOSTILE"

// TestHostileDescriptionsEndInBounds resolves each in a process of its own,
// whose time and memory the system tells.
func TestHostileDescriptionsEndInBounds(t *testing.T) {
	if name := os.Getenv(childCase); name != "" {
		runHostile(t, name)
		return
	}
	if testing.Short() {
		t.Skip("takes long")
	}
	binary := plain.Binary(t)
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "-test.run=^"+t.Name()[:strings.IndexByte(t.Name(), '/')]+"$")
			cmd.Env = append(os.Environ(), childCase+"="+c.name)
			var out strings.Builder
			cmd.Stdout = &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %.2000s", err, out.String())
			}
			var got outcomeOf
			if err := json.NewDecoder(strings.NewReader(out.String())).Decode(&got); err != nil {
				t.Fatalf("%v: %.200s", err, out.String())
			}
			used, memory := cmd.ProcessState.UserTime(), got.Memory
			t.Logf("%v, %d MB: %s %s at %.40q", used.Round(time.Millisecond), memory>>20, got.Code, got.Message, got.Line)
			if used > hostileTime || memory > hostileMemory {
				t.Errorf("took %v of processor time and %d MB", used, memory>>20)
			}
			if got.Code != c.code || !strings.Contains(got.Line, c.at) {
				t.Errorf("got %s %s at %.80q, want %s at %q", got.Code, got.Message, got.Line, c.code, c.at)
			}
		})
	}
}

// peakMemory returns the most memory that this process has had, in bytes. What
// its parent is told of it may be the parent's own, from before exec.
func peakMemory(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0
}

// runHostile is the child process.
func runHostile(t *testing.T, name string) {
	for _, c := range hostile {
		if c.name != name {
			continue
		}
		folder, opts := hostileOptions(name)
		text := c.text()
		res, err := Resolve(context.Background(), Source{Folder: folder, Name: "t.sf", Text: []byte(text)}, opts)
		if err != nil {
			t.Fatal(err)
		}
		got := outcomeOf{Memory: peakMemory(t)}
		if res.Description == nil {
			d := first(res)
			got.Code, got.Message, got.Phase = d.Code, d.Message, d.Phase
			if lines := strings.Split(text, "\n"); d.Span.Pos.File == "t.sf" && d.Span.Pos.Line <= len(lines) {
				got.Line = lines[d.Span.Pos.Line-1]
			} else if d.Span.Pos.IsValid() {
				file, _ := folder.FS.Open(d.Span.Pos.File)
				data, _ := io.ReadAll(file)
				got.Line = strings.Split(string(data), "\n")[d.Span.Pos.Line-1]
			}
			if len(got.Line) > 200 {
				got.Line = got.Line[min(d.Span.Pos.Col-1, len(got.Line)):]
				got.Line = got.Line[:min(len(got.Line), 200)]
			}
		}
		runtime.KeepAlive(res)
		_ = json.NewEncoder(os.Stdout).Encode(got)
		return
	}
	t.Fatalf("no case %s", name)
}
