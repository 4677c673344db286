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
func (r *Registry) Gone() []names.Home {
	return r.entries(func(err error) bool { return errors.Is(err, fs.ErrNotExist) })
}

// There returns the ids of homes that have an entry and a state folder, be it
// one that this user may not look for.
func (r *Registry) There() []names.Home {
	return r.entries(func(err error) bool { return err == nil || errors.Is(err, fs.ErrPermission) })
}

// entries returns the ids of the entries whose reading ends as wanted.
func (r *Registry) entries(wanted func(error) bool) (ids []names.Home) {
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
			if _, err := read(filepath.Join(dir, f.Name())); wanted(err) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
