package daemon

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"

	"aloft/internal/durable"
)

// contactBook keeps on disk where a machine's managers were last, so that the
// machine finds them after a restart although its user data names others.
type contactBook struct {
	file string
	log  *slog.Logger
}

// with returns the addresses kept, then those of given that are not among them.
func (b contactBook) with(given []string) []string {
	var list []string
	text, err := os.ReadFile(b.file)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("the contacts kept cannot be read", "file", b.file, "error", err)
		list = nil
	}
	for _, address := range given {
		if !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}

// keep remembers the addresses for the next start. Failing that, the machine
// goes on with those it knows.
func (b contactBook) keep(addresses []string) {
	if len(addresses) == 0 {
		return
	}
	text, err := json.Marshal(addresses)
	if err == nil {
		err = durable.WriteFile(b.file, text)
	}
	if err != nil {
		b.log.Warn("the contacts are not kept", "error", err)
	}
}
