package component

import (
	"strings"
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

// Class describes a component class: what the planner knows of it without
// calling the manager. What its attributes mean and which values are right,
// its description in the library says, as the class's Schema.
type Class struct {
	Name    string   // native name, as "Nginx"
	Aliases []string // other names accepted in sfClass
	Site    Site

	// Schema is that of its description in the library; nil accepts
	// everything.
	Schema Schema

	// Attributes are those that there is more to say of than the schema does.
	Attributes []Attribute
	// OpenAttributes accepts attributes that nothing knows (compounds).
	OpenAttributes bool
	Outputs        []Output
	// OpenOutputs lets the manager add strings under names that nothing knows
	// before.
	OpenOutputs bool

	// Children reports whether components may stand inside.
	Children bool
	// Workflow is set where children are not deployed with the tree: the
	// component creates them while it runs (runtime.md section 8).
	Workflow bool
	// Reconfigures is false where a changed attribute means replacement.
	Reconfigures bool
	// Repairs is set where nothing runs, and where a Reconfigure that changes
	// nothing puts right what Ping finds wrong: what has drifted is repaired in
	// place. All others are ended and begun anew.
	Repairs bool
	// Isolation is set where deploying needs a root file system of its own.
	Isolation bool
	// KeepsData is set where Terminate leaves things unless told (K in the
	// library): keepOnTerminate is true by default.
	KeepsData bool
	// KeptIsData is set where that is false by default, and what stays if it is
	// true is data: then, and only then, its end with its machine loses them.
	KeptIsData bool
	// KeepsNothing says why nothing of it can stay at its end: keepOnTerminate,
	// which its schema does not have then, is refused with it.
	KeepsNothing string
	// DataElsewhere is set where what it keeps is in another component, which
	// may be on another machine: losing its own machine loses none of it.
	DataElsewhere bool
	// Disposable is set where what Terminate leaves can be had again, as the
	// packages of a machine: ending it loses nothing.
	Disposable bool

	// Spares is set where what a component has may be on another one too, which
	// can be asked whether it is: Call.Spare.
	Spares bool

	// Limits of the operations; zero means the daemon's (600 s, 120 s).
	DeployTimeout, StartTimeout time.Duration

	// Check finds, while planning, what the schema cannot say.
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

// Attribute is what planning must know of an attribute and the schema in the
// library cannot say.
type Attribute struct {
	Name   string
	Use    Use
	Fixed  bool // a change means replacement
	Secret bool // content never shown
	Source bool // names a file or folder beside the description, shipped with it
	// Whole: the attribute is a reference to a component, read as a whole.
	Whole bool
	// Around: where it is not given it refers, as a whole, to the nearest
	// component around this one that has the output called so.
	Around string
	// Reference: the manager gets the reference, not what it leads to.
	Reference bool
}

// Schema is what the description of a class in the library says of its
// attributes. Nothing else says which values are right.
type Schema interface {
	// Names returns the attributes it speaks of, in order. Those that every
	// component may have, which begin with sf, are among them.
	Names() []string
	// Has reports whether it speaks of the attribute.
	Has(name string) bool
	// Default returns what the attribute is where it is not given, or nil.
	Default(name string) value.Value
	// Required reports whether the attribute must be given.
	Required(name string) bool
	// Wrong says what is wrong with v as the attribute, or nil. Of an
	// attribute that is not given v is nil.
	Wrong(name string, v value.Value) *Problem
	// Slip returns the attribute that name was probably meant to be, or "". It
	// proposes none that is given.
	Slip(name string, given func(name string) bool) string
}

// Output is an attribute the manager adds at run time.
type Output struct {
	Name string
	Kind value.Kind
	Doc  string
}

// Problem is something wrong with an attribute, found while planning.
type Problem struct {
	Rule     value.Pos // where the schema says so, if it does
	Attr     string    // "" for the component as a whole
	Expected string
	Found    string
	Message  string
	Remedy   string
}

// Attribute returns what there is to know of the attribute called name; false
// if neither the class nor its schema knows it.
func (c *Class) Attribute(name string) (Attribute, bool) {
	for _, a := range c.Attributes {
		if a.Name == name {
			return a, true
		}
	}
	return Attribute{Name: name}, c.Schema != nil && !strings.HasPrefix(name, "sf") && c.Schema.Has(name)
}

// HasOutput reports whether its manager may add the output called name.
func (c *Class) HasOutput(name string) bool {
	if c.OpenOutputs && !strings.HasPrefix(name, "sf") && (c.Schema == nil || !c.Schema.Has(name)) {
		return true
	}
	for _, o := range c.Outputs {
		if o.Name == name {
			return true
		}
	}
	return false
}
