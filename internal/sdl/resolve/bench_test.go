package resolve

import (
	"bytes"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// shape is a kind of generated description, of any number of components.
type shape struct {
	name     string
	head     string // the templates
	template string // what each component extends
	body     string // of each component; %d is its number
}

// shapes are the descriptions that costs are measured with: two levels of
// templates and two links per component, and the same with more. The last is
// that of CO2: four attributes, an operator and a link.
var shapes = []shape{
	{"links", twoLevels, "Web", `name "web%d"; db ATTRIB shared;`},
	{"functions", twoLevels, "Web", `name "web%d"; db ATTRIB shared; url (proto ++ "://" ++ name);`},
	{"schemas", `#include "functions.sf"
#include "predicates.sf"
` + twoLevels + `Checked extends Web {
  schema extends Schema { port extends Integer; proto extends String; name extends String; weight extends OptionalDouble; }
}
`, "Checked", `name "web%d"; db ATTRIB shared;`},
	co2,
}

var co2 = shape{"CO2", `T1 extends { port 80; proto "http"; path "/"; weight 1; }
T2 extends T1 { url (proto ++ "://" ++ name); proto "https"; up ROOT:host; }
`, "T2", `name "n%d";`}

const twoLevels = `Service extends { port 80; proto "http"; address ROOT:host; }
Web extends Service { port 443; proto "https"; weight 0.5; }
`

// text returns a description of n components.
func (s shape) text(n int) []byte {
	var b bytes.Buffer
	b.WriteString("host \"shop\";\n" + s.head + "sfConfig extends {\n  shared extends { user \"joey\"; }\n")
	for i := range n {
		fmt.Fprintf(&b, "  c%d extends %s { "+s.body+" }\n", i, s.template, i)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// BenchmarkDescription resolves descriptions of three sizes. Beside the time by
// the clock it tells the processor time of all threads, collection of garbage
// included, which other programs on the machine change little: cpu-us/component
// should not grow with the size.
func BenchmarkDescription(b *testing.B) {
	for _, s := range shapes {
		for _, n := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				text := s.text(n)
				b.ReportAllocs()
				runtime.GC()
				before := processorTime(b)
				for b.Loop() {
					res := resolveText(b, string(text), Options{})
					if res.Description == nil {
						b.Fatal(res.Diagnostics.All())
					}
				}
				used := processorTime(b) - before
				b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/op")
				b.ReportMetric(float64(used.Nanoseconds())/1e3/float64(b.N)/float64(n), "cpu-us/component")
			})
		}
	}
}

// processorTime returns what the process has used so far, in user mode.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}
