package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// claimsFile says which components of the machine want which packages, by work
// folder: what one of them brought is not taken away while another wants it. A
// component whose work folder is gone claims nothing.
const claimsFile = "/var/lib/aloft-packages.json"

type claims map[string][]string

func readClaims(file string) (claims, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return claims{}, nil
	}
	c := claims{}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if c == nil { // the file says null
		c = claims{}
	}
	maps.DeleteFunc(c, func(workDir string, _ []string) bool {
		_, err := os.Stat(workDir)
		return errors.Is(err, fs.ErrNotExist)
	})
	return c, nil
}

func (c claims) write() error {
	if len(c) == 0 {
		return RemoveFile(claimsFile)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return WriteFile(claimsFile, b, 0o600)
}

// others returns what components other than that of workDir want.
func (c claims) others(workDir string) []string {
	var names []string
	for dir, wanted := range c {
		if dir != workDir {
			names = append(names, wanted...)
		}
	}
	return names
}

// claim notes what the component of workDir wants now; nothing, when it goes.
// It returns what the others want.
func (p *Packages) claim(workDir string, names []string) ([]string, error) {
	p.claims.Lock()
	defer p.claims.Unlock()
	c, err := readClaims(claimsFile)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(c[workDir], names) {
		if len(names) == 0 {
			delete(c, workDir)
		} else {
			c[workDir] = names
		}
		if err := c.write(); err != nil {
			return nil, err
		}
	}
	return c.others(workDir), nil
}
