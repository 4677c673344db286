// Package software manages VirtualSoftwareComponents: the software of a
// machine as one part of it. Such a part is its children; there is nothing to
// do for it alone.
package software

import (
	"aloft/component"
	"aloft/internal/sdl/catalog"
)

// Manager manages VirtualSoftwareComponents.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes VirtualSoftwareComponent.
func (Manager) Class() component.Class {
	return component.Class{
		Name:   "VirtualSoftwareComponent",
		Site:   component.SiteInherit,
		Schema: catalog.Schema("VirtualSoftwareComponent"),
		Attributes: []component.Attribute{
			{Name: "sfProcessHost", Fixed: true},
		},
		OpenAttributes: true,
		Children:       true,
		Reconfigures:   true,
	}
}
