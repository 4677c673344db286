package value

import (
	"fmt"
	"strconv"
	"strings"
)

// Path names a component below the top of a system by the names that lead to
// it: "vmA:software:mysql". The zero Path is the top itself and prints as
// ROOT. A name with characters outside the language's words is quoted, so
// paths compare as strings and survive a round trip.
type Path string

// Root is the top of a system.
const Root Path = ""

// ParsePath reads a path as people write it. A leading ROOT: or sfConfig: is
// accepted; ROOT and the empty text mean the top.
func ParsePath(s string) (Path, error) {
	var names []string
	for rest := s; rest != ""; {
		var name string
		if rest[0] == '"' {
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return "", fmt.Errorf("path %s: unterminated quote", s)
			}
			name, _ = strconv.Unquote(q)
			rest = rest[len(q):]
			if rest != "" && rest[0] != ':' {
				return "", fmt.Errorf("path %s: expected ':' after %s", s, q)
			}
		} else {
			i := strings.IndexByte(rest, ':')
			if i < 0 {
				i = len(rest)
			}
			name, rest = rest[:i], rest[i:]
		}
		if name == "" {
			return "", fmt.Errorf("path %s: empty name", s)
		}
		if strings.HasPrefix(rest, ":") {
			if rest = rest[1:]; rest == "" {
				return "", fmt.Errorf("path %s: ends in ':'", s)
			}
		}
		names = append(names, name)
	}
	if len(names) > 0 && (names[0] == "ROOT" || names[0] == "sfConfig") {
		names = names[1:]
	}
	return PathOf(names...), nil
}

// PathOf joins names into a path.
func PathOf(names ...string) Path {
	var p Path
	for _, n := range names {
		p = p.Child(n)
	}
	return p
}

// Child returns the path of the component called name directly below p.
func (p Path) Child(name string) Path {
	if !plainName(name) {
		name = strconv.Quote(name)
	}
	if p == Root {
		return Path(name)
	}
	return p + ":" + Path(name)
}

// Names returns the unquoted names from the top down; none for the top.
func (p Path) Names() []string {
	var names []string
	for rest := string(p); rest != ""; {
		if rest[0] == '"' {
			if q, err := strconv.QuotedPrefix(rest); err == nil {
				n, _ := strconv.Unquote(q)
				names = append(names, n)
				rest = strings.TrimPrefix(rest[len(q):], ":")
				continue
			}
		}
		n, tail, _ := strings.Cut(rest, ":")
		names = append(names, n)
		rest = tail
	}
	return names
}

// Parent returns the path one level up; the top is its own parent.
func (p Path) Parent() Path {
	names := p.Names()
	if len(names) == 0 {
		return Root
	}
	return PathOf(names[:len(names)-1]...)
}

// Name returns the last name, or "" for the top.
func (p Path) Name() string {
	names := p.Names()
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// Contains reports whether q is p or lies below it.
func (p Path) Contains(q Path) bool {
	return p == Root || q == p || strings.HasPrefix(string(q), string(p)+":")
}

func (p Path) String() string {
	if p == Root {
		return "ROOT"
	}
	return string(p)
}

func plainName(s string) bool {
	if s == "" || s == "ROOT" || s == "sfConfig" {
		return false
	}
	return !strings.ContainsAny(s, ":\"\\ \t\r\n")
}
