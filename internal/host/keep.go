package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ReadRecord reads what a component noted under a name in its work folder. It
// leaves the record as it is, and returns false, where there is none.
func ReadRecord(workDir, name string, record any) (found bool, err error) {
	path := filepath.Join(workDir, name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, record)
	}
	if err != nil {
		return false, fmt.Errorf("record %s: %w", path, err)
	}
	return true, nil
}

// WriteRecord notes it, on the disk when it returns.
func WriteRecord(workDir, name string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(workDir, name), b, 0o600)
}
