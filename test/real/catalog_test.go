package real

import (
	"path/filepath"
	"strings"
	"testing"
)

// What aloft catalog new writes can be deployed at once. Those that install
// packages are checked only, by the catalogue's own tests.
func TestStartersCanBeDeployed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	for _, name := range []string{"Compound", "ConfigFile", "Directory", "File", "Process", "VM", "VirtualSoftwareComponent", "Website"} {
		file := filepath.Join(h.dir, strings.ToLower(name)+".sf")
		h.do("catalog", "new", name, file)
		h.do("up", file, "-y")
		h.do("down", strings.ToLower(name), "-y")
	}
}
