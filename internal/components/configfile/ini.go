package configfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ini is sections of "key = value" lines. A key is "section.key", cut at the
// first point; without one it stands before the first section.
type ini struct{}

var (
	iniSection = regexp.MustCompile(`^\s*\[([^\]]*)\]`)
	iniEntry   = regexp.MustCompile(`^(\s*)([^=:#;\[\s][^=:]*?)(\s*[=:][ \t]*)(.*?)(\s*)$`)
)

func (ini) split(key string) (section, name string, err error) {
	section, name, ok := strings.Cut(key, ".")
	if !ok {
		section, name = "", key
	}
	if name == "" || strings.ContainsAny(section, "]\r\n\x00") || strings.ContainsAny(name, "=:#;[\r\n\x00") || name != strings.TrimSpace(name) {
		return "", "", fmt.Errorf("%q cannot be a key of an ini file", key)
	}
	return section, name, nil
}

// find returns the line of the entry, or -1, and the line after the last entry
// of its section, or -1 if there is no such section.
func (ini) find(l []string, section, name string) (at, end int) {
	at, end = -1, -1
	in := section == ""
	if in {
		end = 0
	}
	for i, line := range l {
		if m := iniSection.FindStringSubmatch(line); m != nil {
			if in = m[1] == section; in {
				end = i + 1
			}
			continue
		}
		if !in {
			continue
		}
		if strings.TrimSpace(line) != "" {
			end = i + 1
		}
		if m := iniEntry.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil && m[2] == name && at < 0 {
			at = i
		}
	}
	return at, end
}

func (f ini) get(doc []byte, key string) (any, bool, error) {
	section, name, err := f.split(key)
	if err != nil {
		return nil, false, err
	}
	l := lines(doc)
	at, _ := f.find(l, section, name)
	if at < 0 {
		return nil, false, nil
	}
	return iniEntry.FindStringSubmatch(strings.TrimRight(l[at], "\r\n"))[4], true, nil
}

func (f ini) set(doc []byte, key string, v any) ([]byte, error) {
	section, name, err := f.split(key)
	if err != nil {
		return nil, err
	}
	text := v.(string)
	if strings.ContainsAny(text, "\r\n\x00") || text != strings.TrimSpace(text) {
		return nil, fmt.Errorf("key %s: an ini file cannot hold the value %q", key, text)
	}
	l := lines(doc)
	switch at, end := f.find(l, section, name); {
	case at >= 0:
		m := iniEntry.FindStringSubmatch(strings.TrimRight(l[at], "\r\n"))
		l[at] = m[1] + m[2] + m[3] + text + "\n"
	case end >= 0:
		l = slices.Insert(l, end, name+" = "+text+"\n")
	default:
		if len(l) > 0 {
			l = append(l, "\n")
		}
		l = append(l, "["+section+"]\n", name+" = "+text+"\n")
	}
	return []byte(strings.Join(l, "")), nil
}

func (f ini) remove(doc []byte, key string) ([]byte, error) {
	section, name, err := f.split(key)
	if err != nil {
		return nil, err
	}
	l := lines(doc)
	at, _ := f.find(l, section, name)
	if at < 0 {
		return doc, nil
	}
	return []byte(strings.Join(slices.Delete(l, at, at+1), "")), nil
}
