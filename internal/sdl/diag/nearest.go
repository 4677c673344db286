package diag

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// maxNear is how many names a hint proposes.
const maxNear = 3

// maxNearLen bounds the names compared, so that a hint about a monstrous name
// costs nothing.
const maxNearLen = 128

// Nearest returns up to three of candidates that look most like name, nearest
// first, each at most a third of name's length away. A letter added, left out
// or changed counts one, and so does a swap of two neighbours.
func Nearest(name string, candidates []string) []string {
	n := utf8.RuneCountInString(name)
	limit := n / 3
	if limit == 0 || n > maxNearLen {
		return nil
	}
	type near struct {
		name string
		dist int
	}
	var found []near
	word := []rune(name)
	for _, c := range candidates {
		m := utf8.RuneCountInString(c)
		if c == name || m-n > limit || n-m > limit {
			continue
		}
		if d := distance(word, []rune(c)); d <= limit {
			found = append(found, near{c, d})
		}
	}
	slices.SortFunc(found, func(a, b near) int {
		return cmp.Or(cmp.Compare(a.dist, b.dist), cmp.Compare(a.name, b.name))
	})
	found = slices.Compact(found)
	var names []string
	for _, f := range found[:min(len(found), maxNear)] {
		names = append(names, f.name)
	}
	return names
}

// distance is the Damerau edit distance in which no part is edited twice. It
// keeps the last two rows of the usual table.
func distance(a, b []rune) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
