package convert

import (
	"regexp"
	"strings"
	"sync"

	"aloft/internal/sdl/diag"
	"aloft/internal/sdl/syntax"
	"aloft/value"
)

// nodeKind is what JSON and YAML have.
type nodeKind uint8

const (
	nNull nodeKind = iota
	nBool
	nNumber
	nString
	nList
	nMap
)

var kindNames = [...]string{
	nNull: "null", nBool: "a boolean", nNumber: "a number", nString: "a string", nList: "a list", nMap: "a mapping",
}

// node is a value of JSON or YAML.
type node struct {
	kind  nodeKind
	text  string // of a scalar; a number as written
	at    diag.Span
	plain bool // the text of a string stands there as it is, from its first character
	block bool // a list or mapping by indentation
	col   int  // in which the keys of a block stand
	keys  []entry
	items []*node
}

// entry is a key of a mapping with its value. Of an item of a description,
// notes are its comments; a writer that cannot show them writes keys.
type entry struct {
	key   string
	at    diag.Span
	val   *node
	notes notes
	last  []string // of an entry without key at the end: comments there
}

// The keys that are no names.
const (
	keyText      = "$"         // a value in the language's own text
	keyExtends   = "$extends"  // what stands between extends and the body
	keyInclude   = "$include"  // files
	keyMaybe     = "$include?" // files that may be missing
	keyComment   = "$comment"  // comments on lines of their own
	keyAside     = "$aside"    // comments behind the item before
	keyFile      = "file"      // of an include with a codebase
	keyCodebase  = "codebase"
	reservedHint = `a name that begins with $ is written in quotes of its own: "\"$name\""`
)

// pattern is a regular expression that is compiled when it is first used: every
// command of aloft would wait for those of this package otherwise.
func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

// repeated is the end of a key that has been there before: JSON and YAML want
// different ones.
var repeated = pattern(` #[0-9]+$`)

// plainKey reports whether name is its own key; others are written as the
// language does.
func plainKey(name string) bool {
	return name != "--" && !strings.ContainsRune(name, ':') && !repeated().MatchString(name) &&
		(name == "" || !strings.ContainsRune(`$["`, rune(name[0])))
}

// keyOf is the key of a.
func keyOf(a *syntax.Attribute) string {
	switch {
	case len(a.Tags) > 0 || len(a.Path) > 0 || a.Fresh:
		return head(a)
	case plainKey(a.Name):
		return a.Name
	default:
		return value.Quote(a.Name)
	}
}
