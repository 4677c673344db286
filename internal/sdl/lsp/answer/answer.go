// Package answer computes what to show in an editor: completions, hovers,
// definitions, references, renames, symbols, folds and tokens. Its functions
// are pure: they get a file's text, what is known of the description it belongs
// to, and a place. They know nothing of the protocol or of open documents.
package answer

import "aloft/internal/sdl/syntax"

// Triggers are the characters after which completions are of use.
var Triggers = []string{":", "\"", "/", " "}

// Keywords returns the keywords of the language.
func Keywords() []string { return syntax.Keywords() }
