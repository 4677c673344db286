package limits

import (
	"os"
	"slices"
)

// Parents lists the groups at the top.
func (t Tree) Parents() (groups []string, err error) {
	for _, dir := range t.dirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains(groups, e.Name()) {
				groups = append(groups, e.Name())
			}
		}
	}
	return groups, nil
}
