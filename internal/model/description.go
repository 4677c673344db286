// Package model holds what a resolved description is to the rest of the
// product: the description with the sources shipped beside it, its tree of
// components, and the walk over the parts of a reference, which the resolver
// and the planner share. It decides nothing about machines, order or classes,
// reads no file and starts no goroutine.
package model

import (
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
