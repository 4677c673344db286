package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"aloft/api"

	"github.com/spf13/cobra"
)

// The form of saved plans: what they begin with, and the newest version.
const (
	savedForm    = "aloft plan"
	savedVersion = 1
)

// savedPlan is a plan in a file: what was asked for, and what was to be done.
type savedPlan struct {
	Form    string          `json:"form"`
	Version int             `json:"version"`
	Plan    *api.Plan       `json:"plan"`
	Request api.PlanRequest `json:"request"`
}

// save writes the plan to the file of --out.
func (ch *change) save(p *api.Plan) error {
	if p.Attached {
		return fail("'aloft events "+p.System+" -f' follows it", "an equal plan is under way: there is nothing to save")
	}
	text, err := json.MarshalIndent(savedPlan{savedForm, savedVersion, p, ch.request}, "", " ")
	if err != nil {
		return err
	}
	_, err = writeBeside(ch.out, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	return err
}

// maxSaved bounds a saved plan, in bytes: as large as a request may be, twice.
const maxSaved = 128 << 20

// savedFile returns the content of a file that is a saved plan. Descriptions
// begin with anything but a brace.
func savedFile(file string) ([]byte, bool) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSaved {
		return nil, false
	}
	text, err := os.ReadFile(file)
	return text, err == nil && bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

// decodeSaved reads a saved plan.
func decodeSaved(text []byte) (*savedPlan, error) {
	s := &savedPlan{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("not a saved plan: %w", err)
	}
	switch {
	case s.Form != savedForm:
		return nil, fail("a description in JSON is made one of the language by 'aloft convert'", "not a saved plan: it does not say that it is an %q", savedForm)
	case s.Version > savedVersion:
		return nil, fail("use the version of aloft that saved it", "the plan was saved by a newer version (form %d, known is %d)", s.Version, savedVersion)
	case s.Version < 1 || s.Plan == nil || s.Plan.System != s.Request.Name || s.Request.Name == "":
		return nil, fmt.Errorf("not a saved plan: it lacks the plan of a system")
	}
	return s, nil
}

// upSaved carries out a saved plan, exactly, or refuses it.
func (ch *change) upSaved(c *cobra.Command, file string, text []byte) error {
	s, err := decodeSaved(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range []string{"name", "define", "variable", "include", "seed", "now", "env", "allow-unresolved", "allow-data-loss"} {
		if c.Flags().Changed(name) {
			return fail("give it to 'aloft plan', and save that", "--%s changes nothing of a plan that is saved", name)
		}
	}
	ctx := c.Context()
	ch.request, ch.loss, ch.saved, ch.file = s.Request, s.Request.AllowDataLoss, s.Plan, file
	if len(s.Request.Sources) > 0 {
		cl, err := ch.connect()
		if err != nil {
			return err
		}
		digests := make([]string, len(s.Request.Sources))
		for i, src := range s.Request.Sources {
			digests[i] = src.Digest
		}
		missing, err := cl.MissingBlobs(ctx, digests)
		if err != nil {
			return ch.notRunning(err)
		}
		if len(missing) > 0 {
			return fail("make the plan again, and save that", "%d of the files that the plan sends along are not known there any more", len(missing))
		}
	}
	return ch.run(ctx)
}

// fresh refuses the saved plan where now, which is what would be done, is not
// the same.
func (ch *change) fresh(now *api.Plan) error {
	switch {
	case now.Attached:
		return fail("'aloft events "+now.System+" -f' follows it", "the saved plan is stale: revision %d of %s is under way", now.Revision, now.System)
	case now.Base != ch.saved.Base:
		return fail("make the plan again, and look at it", "the saved plan is stale: %s is at revision %d, the plan was made for %d", now.System, now.Base, ch.saved.Base)
	case !doesTheSame(now, ch.saved):
		return fail("make the plan again, and look at it", "the saved plan is stale: something else would have to be done in %s now", now.System)
	}
	return nil
}
