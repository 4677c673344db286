package names

import "strings"

// OfLink returns the home that a network interface bears.
func OfLink(link string) (Home, bool) {
	rest, ok := strings.CutPrefix(link, prefix)
	if !ok || len(rest) < idLen+2 || !strings.ContainsRune("btum", rune(rest[idLen])) {
		return "", false
	}
	h, err := ParseHome(rest[:idLen])
	return h, err == nil
}

// idLen is the length of a home's id.
const idLen = 8

// OfSource returns the home that the source of a mount, or a control group,
// bears.
func OfSource(source string) (Home, bool) {
	id, ok := strings.CutPrefix(source, Home("").Source())
	if !ok {
		return "", false
	}
	h, err := ParseHome(id)
	return h, err == nil
}
