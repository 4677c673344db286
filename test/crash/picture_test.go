package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"aloft/api"
)

// picture is everything that must be the same, whatever crashed.
type picture struct {
	state      string
	components []api.Component
	machines   []string // as the product lists them: name and state
	provider   []string // what the provider has: path and phase
	keepers    int      // machines whose first process runs, on this host
	ledger     string
	leftOver   []string
	secrets    []string
	effects    map[string]string // by component: what it wrote down, in order
}

func (h *home) picture() (p picture, err error) {
	var systems []api.System
	if err := h.json(&systems, "systems"); err != nil {
		return p, err
	}
	p.state = "gone"
	if len(systems) > 0 {
		var st api.Status
		if err := h.json(&st, "status", system); err != nil {
			return p, err
		}
		p.state = fmt.Sprintf("%s, revision %d", st.State, st.Revision)
		for _, c := range st.Components {
			c.Address = "" // by chance
			p.components = append(p.components, c)
		}
	}
	var machines []api.Machine
	if err := h.json(&machines, "machines"); err != nil {
		return p, err
	}
	for _, m := range machines {
		p.machines = append(p.machines, m.Name+" "+m.State)
	}
	var doctor api.DoctorReport
	if err := h.json(&doctor, "doctor"); err != nil {
		return p, err
	}
	for _, c := range doctor.Checks {
		if c.Name == "ledger" {
			p.ledger = c.State + ": " + c.Detail
		}
	}
	for _, l := range doctor.LeftOver {
		if l.HomeID != doctor.HomeID {
			continue // of another test
		}
		p.leftOver = append(p.leftOver, l.Kind+" "+l.Name)
	}
	var secrets []api.Secret
	if err := h.json(&secrets, "secret", "list"); err != nil {
		return p, err
	}
	for _, s := range secrets {
		p.secrets = append(p.secrets, s.Name)
	}
	if p.provider, err = h.provided(); err != nil {
		return p, err
	}
	p.keepers = h.firstProcesses()
	p.effects = map[string]string{}
	files, err := filepath.Glob(h.path("effects", "*"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return p, err
		}
		p.effects[filepath.Base(f)] = strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", ")
	}
	return p, err
}

// provided lists what the provider of the home's machines has in its books, and
// refuses two of one token.
func (h *home) provided() (list []string, err error) {
	files, err := filepath.Glob(h.path("machines", "*", "record.json"))
	if err != nil {
		return nil, err
	}
	of := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went just now
		}
		if err != nil {
			return nil, err
		}
		var r struct {
			Ref, Token, Phase string
			Mark              struct{ Path string }
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if other := of[r.Token]; other != "" {
			return nil, fmt.Errorf("machines %s and %s have one token", other, r.Ref)
		}
		of[r.Token] = r.Ref
		list = append(list, r.Mark.Path+" "+r.Phase)
	}
	slices.Sort(list)
	return list, nil
}

// firstProcesses counts the machines of the home by the process that each has.
func (h *home) firstProcesses() (n int) {
	id, _ := os.ReadFile(h.path("home-id")) // none before the first daemon
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		args, _ := os.ReadFile(dir + "/cmdline") // it may have ended
		if bytes.Contains(args, append([]byte("init\x00--process\x00--home-id\x00"), bytes.TrimSpace(id)...)) {
			n++
		}
	}
	return n
}
