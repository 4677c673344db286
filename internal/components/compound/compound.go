// Package compound manages Compounds: components that only hold others. What
// the children of a compound have in common (order, failure, fate) the daemon
// reads from its core attributes; there is nothing to do for it alone.
package compound

import (
	"aloft/component"
	"aloft/internal/sdl/catalog"
)

// Manager manages Compounds.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes Compound. Its children share one fate unless sfOnChildEnd
// says otherwise.
func (Manager) Class() component.Class {
	return component.Class{
		Name:           "Compound",
		Aliases:        []string{"org.smartfrog.sfcore.compound.CompoundImpl"},
		Site:           component.SiteInherit,
		Schema:         catalog.Schema("Compound"),
		OpenAttributes: true,
		Children:       true,
		Reconfigures:   true,
	}
}
