// Package software manages VirtualSoftwareComponents: the software of a
// machine as one part of it. Such a part is its children; there is nothing to
// do for it alone.
package software

import (
	"aloft/component"
	"aloft/value"
)

// Manager manages VirtualSoftwareComponents.
type Manager struct{ component.Keep }

var _ component.Manager = Manager{}

// New returns a manager.
func New() Manager { return Manager{} }

// Class describes VirtualSoftwareComponent.
func (Manager) Class() component.Class {
	return component.Class{
		Name: "VirtualSoftwareComponent",
		Doc:  "The software of a machine, as one part of it.",
		Site: component.SiteInherit,
		Attributes: []component.Attribute{
			{Name: "sfProcessHost", Kinds: []value.Kind{value.KindString, value.KindReference}, Fixed: true, Doc: "address or name of the host that processes it; LAZY PARENT:ip for the machine around it"},
		},
		OpenAttributes: true,
		Children:       true,
		Reconfigures:   true,
	}
}
