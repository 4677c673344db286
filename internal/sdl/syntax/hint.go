package syntax

import (
	"fmt"
	"strings"

	"aloft/internal/sdl/diag"
	"aloft/value"
)

// KeywordHint returns what may have been meant by a word that differs from a
// keyword only in its case, or is nearly extends.
func KeywordHint(word string) (string, bool) {
	for k := tApply; k < numKinds; k++ {
		if word != spelling[k] && strings.EqualFold(word, spelling[k]) {
			return fmt.Sprintf("did you mean %s? The case of keywords counts", spelling[k]), true
		}
	}
	if len(diag.Nearest(word, []string{spelling[tExtends]})) > 0 {
		return "did you mean extends?", true
	}
	return "", false
}

// meant is KeywordHint for the words right before the look-ahead, but for
// keywords that are names of attributes as often as not.
func (p *parser) meant() []string {
	for _, word := range p.said {
		switch strings.ToLower(word) {
		case "", "host", "root", "data", "property", "process", "this", "here", "constant", "var", "parent":
			continue
		}
		if hint, ok := KeywordHint(word); ok {
			return []string{hint}
		}
	}
	return nil
}

// WordHint returns what may have been meant by a word that was not found and
// has an operator in it: a++b is one word, (a ++ b) an operation.
func WordHint(word string) (string, bool) {
	for _, sign := range []string{"&&", "++", "+", "-", "%"} {
		left, right, ok := strings.Cut(word, sign)
		if !ok || left == "" {
			continue
		}
		if sign == "-" && right == "" { // a->b is the words a- and b
			return fmt.Sprintf("%s is one word; operators need blanks around them: (%s -> …)", word, left), true
		}
		if right == "" || !value.IsWord(left) {
			continue
		}
		return fmt.Sprintf("%s is one word; operators need blanks around them: (%s %s %s)", word, left, sign, right), true
	}
	return "", false
}
