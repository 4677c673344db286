package syntax

import "bytes"

// Closed returns src with the braces that are missing at its end, where they
// move nothing: for the tree of a text that is being written.
func Closed(src []byte) []byte {
	depth := 0
	for _, t := range Tokens(src) {
		switch t.kind {
		case tLBrace:
			depth++
		case tRBrace:
			depth = max(0, depth-1)
		}
	}
	if depth == 0 {
		return src
	}
	return append(append(bytes.Clone(src), '\n'), bytes.Repeat([]byte("}"), depth)...)
}
