package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// number reads a small decimal number.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= math.MaxInt32
}

// words splits a command as Compose does: at blanks, with quotes and
// backslashes as in a shell, and nothing else of a shell.
func words(s string) ([]string, error) {
	var out []string
	var b strings.Builder
	open, quote := false, rune(0)
	rs := []rune(s)
	for i := 0; i < len(rs); i++ {
		r := rs[i]
		switch {
		case quote == '\'' && r != '\'':
			b.WriteRune(r)
		case r == '\\' && i+1 < len(rs):
			i++
			b.WriteRune(rs[i])
			open = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quote, open = r, true
		case unicode.IsSpace(r):
			if open {
				out = append(out, b.String())
				b.Reset()
				open = false
			}
		default:
			b.WriteRune(r)
			open = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a %c that is not closed", quote)
	}
	if open {
		out = append(out, b.String())
	}
	return out, nil
}

// port is one port of a container.
type port struct {
	number    int
	protocol  string
	published string // on the host; "" if it is not
}

// parsePorts reads [[ADDRESS:]PUBLISHED:]PORT[/PROTOCOL], in which ports may be
// ranges.
func parsePorts(s string) ([]port, bool) {
	s, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	published := ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		published, s = s[:i], s[i+1:]
	}
	first, last, ranged := strings.Cut(s, "-")
	from, ok := number(first)
	to := from
	if ranged && ok {
		to, ok = number(last)
	}
	if !ok || from < 1 || to > 65535 || to < from || to-from > 100 || protocol != "tcp" && protocol != "udp" {
		return nil, false
	}
	var list []port
	for n := from; n <= to; n++ {
		list = append(list, port{n, protocol, published})
	}
	return list, true
}

// seconds reads a duration as Compose writes it, rounded up to seconds.
func seconds(s string) (int, bool) {
	if n, ok := number(s); ok {
		return n, true
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 1000*time.Hour {
		return 0, false
	}
	return int((d + time.Second - 1) / time.Second), true
}

// mebibytes reads an amount of memory, rounded up to MiB.
func mebibytes(s string) (int, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	digits := strings.TrimRight(s, "bkmgi")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n <= 0 {
		return 0, false
	}
	switch strings.TrimSuffix(strings.TrimSuffix(s[len(digits):], "b"), "i") {
	case "":
	case "k":
		n *= 1 << 10
	case "m":
		n *= 1 << 20
	case "g":
		n *= 1 << 30
	default:
		return 0, false
	}
	n = math.Ceil(n / (1 << 20))
	return int(min(n, math.MaxInt32)), n < math.MaxInt32
}

// mount is one of a service's volumes.
type mount struct {
	kind           string // "bind", "volume", "tmpfs" or another word
	source, target string
	readOnly       bool
}

// parseMount reads [SOURCE:]TARGET[:OPTIONS] or the long form.
func parseMount(n *node) (mount, bool) {
	var m mount
	switch n.kind {
	case nString:
		parts := strings.Split(n.text, ":")
		switch len(parts) {
		case 1:
			m.target = parts[0]
		case 3:
			m.readOnly = strings.Contains(","+parts[2]+",", ",ro,")
			fallthrough
		case 2:
			m.source, m.target = parts[0], parts[1]
		default:
			return m, false
		}
		m.kind = "volume"
		if strings.HasPrefix(m.source, ".") || strings.HasPrefix(m.source, "/") || strings.HasPrefix(m.source, "~") {
			m.kind = "bind"
		}
	case nMap:
		field := func(key string) string {
			if x := get(n, key); x != nil && x.kind < nList {
				return x.text
			}
			return ""
		}
		m = mount{field("type"), field("source"), field("target"), field("read_only") == "true"}
	default:
		return m, false
	}
	return m, path.IsAbs(m.target)
}

// bareError is err without the operation and path that its reader knows.
func bareError(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
