// Package diagnostics holds a page for every kind of diagnostic: what it
// means, an example, and what to do. The pages are text; a test runs their
// examples.
package diagnostics

import (
	"embed"
	"strings"
)

//go:embed *.md
var pages embed.FS

// Page returns the page of a code such as "SDL801", in Markdown, or false if
// there is none.
func Page(code string) (string, bool) {
	text, err := pages.ReadFile(strings.ToUpper(code) + ".md")
	return string(text), err == nil
}
