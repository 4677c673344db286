package pool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aloft/internal/drivers/local/names"
)

// Gone returns the ids of homes that have an entry and no state folder any
// more.
func (r *Registry) Gone() (gone []names.Home) {
	for _, dir := range r.read {
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // no home on this host has an entry there
		}
		for _, f := range files {
			id, err := names.ParseHome(strings.TrimSuffix(f.Name(), ".json"))
			if err != nil {
				continue
			}
			if _, err := read(filepath.Join(dir, f.Name())); errors.Is(err, fs.ErrNotExist) {
				gone = append(gone, id)
			}
		}
	}
	return gone
}
