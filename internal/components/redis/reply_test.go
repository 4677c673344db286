package redis

import (
	"bufio"
	"strings"
	"testing"
)

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR x\r\n", "$3\r\nabc\r\n", "$-1\r\n", ":1\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if reply, err := readReply(bufio.NewReader(strings.NewReader(s))); err == nil && len(reply) > len(s) {
			t.Errorf("%q gives %q", s, reply)
		}
	})
}

// A word, quoted, is one word on one line whatever it holds.
func FuzzQuote(f *testing.F) {
	f.Add("a\nb\"c\\")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		inner := q[1 : len(q)-1]
		if strings.ContainsAny(q, "\n\r\x00") || strings.Contains(strings.ReplaceAll(strings.ReplaceAll(inner, `\\`, ""), `\"`, ""), `"`) {
			t.Errorf("%q is written as %s", s, q)
		}
	})
}
