package syntax

import (
	"fmt"
	"strings"

	"aloft/value"
)

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
