package component

import (
	"time"

	"aloft/value"
)

// Site says where a class acts (design decision 6).
type Site string

// The sites of classes.
const (
	SiteMachine  Site = "machine"  // the machine the component is placed on
	SiteResource Site = "resource" // where its provider says: the account's owner, or the host
	SiteSystem   Site = "system"   // the system's owner; only state, no machine
	// SiteInherit is for compounds: on the machine that processes them, or
	// with the system's owner above any machine.
	SiteInherit Site = "inherit"
)

// Class describes a component class: what the planner, the editors and the
// catalogue know of it without calling the manager.
type Class struct {
	Name    string   // native name, as "Nginx"
	Aliases []string // other names accepted in sfClass
	Doc     string
	Site    Site

	Attributes []Attribute
	// OpenAttributes accepts attributes beyond those listed (compounds).
	OpenAttributes bool
	Outputs        []Output

	// Children reports whether components may stand inside.
	Children bool
	// Reconfigures is false where a changed attribute means replacement.
	Reconfigures bool
	// Isolation is set where deploying needs a root file system of its own.
	Isolation bool
	// KeepsData is set where Terminate leaves things unless told (K in the
	// library): keepOnTerminate is true by default.
	KeepsData bool

	// Limits of the operations; zero means the daemon's (600 s, 120 s).
	DeployTimeout, StartTimeout time.Duration

	// Check finds, while planning, what the list of Attributes cannot say.
	// Late values are *value.Reference then. It is pure and may be nil.
	Check func(attrs *value.Component, m Target) []Problem
}

// Target is what is known, while planning, of the machine a component goes to.
type Target struct {
	Isolation  bool
	Privileged bool // may bind ports below 1024
}

// Use says which operation first reads an attribute, and so what the reader
// waits for when the attribute refers to another component (runtime.md LZ2).
type Use string

// The uses of an attribute.
const (
	UseDeploy Use = ""      // read in deploy: waits for deployed
	UseStart  Use = "start" // first read in start: waits for running
)

// Attribute is one line of a class's schema.
type Attribute struct {
	Name     string
	Kinds    []value.Kind // accepted kinds; none: any
	Required bool
	Default  value.Value // nil: none
	Enum     []string    // of strings, the accepted ones; none: any
	Doc      string
	Unit     string
	Use      Use
	Fixed    bool // a change means replacement
	Secret   bool // content never shown
	Source   bool // names a file or folder beside the description, shipped with it
	// Whole: the attribute is a reference to a component, read as a whole.
	Whole bool
}

// Output is an attribute the manager adds at run time.
type Output struct {
	Name string
	Kind value.Kind
	Doc  string
}

// Problem is something wrong with an attribute, found while planning.
type Problem struct {
	Attr     string // "" for the component as a whole
	Expected string
	Found    string
	Message  string
	Remedy   string
}

// Attribute returns the schema line called name.
func (c *Class) Attribute(name string) (Attribute, bool) {
	for _, a := range c.Attributes {
		if a.Name == name {
			return a, true
		}
	}
	return Attribute{}, false
}

// HasOutput reports whether the class declares the output called name.
func (c *Class) HasOutput(name string) bool {
	for _, o := range c.Outputs {
		if o.Name == name {
			return true
		}
	}
	return false
}
