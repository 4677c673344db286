package convert

import (
	"regexp"
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// In a Compose network a service's name is the host name of its container.
// aloft has no such names: where a text surely means a host, the address takes
// its place when it is known.

// hostPattern finds names of services where they may be host names.
func hostPattern(services []*service) *regexp.Regexp {
	names := make([]string, 0, len(services))
	for _, s := range services {
		names = append(names, regexp.QuoteMeta(s.name))
	}
	// The longest first: of those that fit, the first is taken.
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	if len(names) == 0 {
		return nil
	}
	return regexp.MustCompile(`(^|//|@|[,; =])(` + strings.Join(names, "|") + `)(:[0-9]|[/?,; ]|$)`)
}

// hostWord is how names of variables end that hold hosts.
var hostWord = pattern(`(?i)(host|hostname|addr|address|server|endpoint|url)s?$`)

// hosted returns s, the value at key, with names of services that are hosts as
// references to the addresses of their machines.
func (c *composer) hosted(at diag.Span, key, s string) syntax.Expr {
	if c.hosts == nil || len(s) > maxTemplate {
		return text2(s)
	}
	var parts []string
	done := 0
	for done < len(s) {
		m := c.hosts.FindStringSubmatchIndex(s[done:])
		if m == nil {
			break
		}
		before, name, after := s[done+m[2]:done+m[3]], s[done+m[4]:done+m[5]], s[done+m[6]:done+m[7]]
		from, to := done+m[4], done+m[5]
		whole := name == s
		atStart := m[2] == m[3] && done > 0 // not the start of the text
		is := before == "//" || before == "@" || strings.HasPrefix(after, ":") || whole && hostWord().MatchString(key)
		if whole && !is {
			c.lose(at, key, "%q is the name of a service; if a host is meant, write %s", name, c.reference(c.byName[name], "ip"))
		}
		if !is || atStart {
			if to > from && atStart {
				to = from + 1
			}
			parts = appendText(parts, s[done:to])
			done = to
			continue
		}
		target := c.byName[name]
		if target.copies > 1 {
			c.lose(at, key, "%s has %d copies; the address of the first is taken", name, target.copies)
		}
		parts = appendText(parts, s[done:from])
		parts = append(parts, c.reference(target, "ip"))
		done = to
	}
	parts = appendText(parts, s[done:])
	if !slices.ContainsFunc(parts, func(p string) bool { return p[0] != '"' }) {
		return text2(s)
	}
	if len(parts) == 1 {
		return expression(parts[0])
	}
	return expression("(" + strings.Join(parts, " ++ ") + ")")
}

func appendText(parts []string, s string) []string {
	if s == "" {
		return parts
	}
	return append(parts, value.Quote(s))
}
