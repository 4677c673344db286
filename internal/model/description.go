// Package model holds what a resolved description is to the rest of the
// product: the description with the sources shipped beside it, its tree of
// components, and the walk over the parts of a reference, which the resolver
// and the planner share. It decides nothing about machines, order or classes,
// reads no file and starts no goroutine.
package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"aloft/value"
)

// Description is a resolved description, ready to be planned. It is immutable.
type Description struct {
	Name    string // of the system
	File    string // as given by the user
	Root    *value.Component
	Sources []Source // in the order of their paths
}

// Source is content shipped with a description: a file beside it that an
// attribute names, or one file of a folder so named.
type Source struct {
	Component value.Path  `json:"component"`
	Attr      string      `json:"attr"`           // the attribute that names it
	Path      string      `json:"path"`           // as written there
	Name      string      `json:"name,omitempty"` // of a file in a folder: its path below the folder, with slashes
	Digest    string      `json:"digest"`         // "sha256:…" of the content
	Size      int64       `json:"size"`           // bytes
	Mode      fs.FileMode `json:"mode"`           // permission bits
}

// wire is the form in which descriptions travel.
type wire struct {
	Name    string     `json:"name"`
	File    string     `json:"file,omitempty"`
	Root    value.Wire `json:"root"`
	Sources []Source   `json:"sources,omitempty"`
}

// MarshalJSON returns the description as JSON, its values in wire form.
func (d *Description) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{Name: d.Name, File: d.File, Root: value.Wire{Value: d.Root}, Sources: d.Sources})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Description) UnmarshalJSON(text []byte) error {
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return fmt.Errorf("read description: %w", err)
	}
	root, ok := w.Root.Value.(*value.Component)
	if !ok {
		return errors.New("read description: the top is not a component")
	}
	*d = Description{Name: w.Name, File: w.File, Root: root, Sources: w.Sources}
	return nil
}

// Digest returns "sha256:" and the digest of what d means: its values and its
// sources. Neither its name, nor where it was written, counts.
func (d *Description) Digest() string {
	h := sha256.New()
	fmt.Fprintln(h, value.Digest(d.Root))
	for _, s := range d.Sources {
		fmt.Fprintf(h, "%q %q %q %q %s %o\n", s.Component, s.Attr, s.Path, s.Name, s.Digest, s.Mode.Perm())
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
