package syntax

import (
	"maps"
	"slices"
)

// Keywords returns the words that can be no names, sorted.
func Keywords() []string { return slices.Sorted(maps.Keys(keywords)) }
