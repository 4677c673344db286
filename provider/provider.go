// Package provider is the public contract of a vendor module: the one door
// between aloft and whoever rents out machines. A module speaks for one
// provider's API, keeps no state of its own and knows no other module. What is
// common to all (choosing, retrying, spacing, ledger, polling, sweeping) is
// done by its caller, which knows resources, not clouds.
package provider

import (
	"context"
	"time"
)

// Kind is the open set of resource kinds.
type Kind string

// Compute is the one kind that every module of this release offers.
const Compute Kind = "compute"

// Operation names something that can be done to a resource beyond making and
// destroying it.
type Operation string

// Operations of compute resources.
const (
	OpStart Operation = "start" // boot a stopped machine with the disks it has
	OpStop  Operation = "stop"  // stop it, state kept
)

// Support says how far a module has an operation.
type Support string

// The cells of the capability tables.
const (
	Yes        Support = "yes"
	No         Support = "no"
	CreateOnly Support = "create-only"
	External   Support = "external"
)

// Site says which daemon must act.
type Site string

// Sites of a module (design decision 6).
const (
	SiteAccount Site = "account" // any manager that owns the account
	SiteHost    Site = "host"    // the very host the machines run on
)

// Capabilities is what a module declares about itself, without network.
type Capabilities struct {
	Name       string // the word used in cloudProvider
	Doc        string // one line for people
	Kinds      []Kind
	Operations map[Operation]Support
	Site       Site

	// NativeTokens reports whether the provider itself makes Create with a
	// known token return the resource made before, for TokenLife at least.
	// Without, the caller finds a resource by the name made from the token,
	// after ListLag, and sweeps duplicates.
	NativeTokens bool
	TokenLife    time.Duration

	// ListLag is the longest time until List shows what Create made.
	ListLag time.Duration

	// Isolation reports whether a machine has a root file system of its own,
	// so that packages can be installed in it.
	Isolation bool

	// DefaultTemplate is used when a description names none.
	DefaultTemplate string
}

// Account is one set of rights at a provider. Module specific settings are
// plain text; secrets are opened only for the call.
type Account struct {
	Name     string
	Settings map[string]string
}

// Need is what a machine must have.
type Need struct {
	Name     string // the need's path, for messages
	Template string // "" means the module's default
	Cores    int
	Memory   int // MiB
	Disk     int // GB
	Region   string
	MaxPrice float64 // per hour, 0: no cap
	Ports    []string
	Labels   map[string]string
}

// Call asks for proposals. Each need is answered by itself.
type Call struct {
	Needs []Need
}

// Proposal is an offer that meets every requirement of one need.
type Proposal struct {
	Need       string // Need.Name
	Provider   string
	Account    string
	Host       string // machine id of the host, for SiteHost
	Region     string
	Zone       string
	Size       string
	Template   string
	Cores      int
	Memory     int // MiB
	Disk       int // GB
	PerHour    float64
	Currency   string
	ValidUntil time.Time // zero: without end
	Isolation  bool
	Notes      []string // what a person should know, as "limits are not enforced: …"
}

// Class is a group of equal resources to prepare for.
type Class struct {
	Kind     Kind
	Template string
	Region   string
	Size     string
	Count    int
}

// Mark is borne by everything made, and tells whose it is.
type Mark struct {
	Home    string // the 8-hex id of the home, or of the cluster
	System  string
	Path    string
	Machine string // machine id (UUID)
}

// Request is one resource to make.
type Request struct {
	Kind  Kind
	Token string // idempotency: the same token gives the same resource
	Mark  Mark
	Spec  Proposal
	Name  string // for people and as host name, as "db" or "web-app1"

	// UserData is handed to the machine's first boot: what it enrols with.
	UserData []byte
}

// State of a resource.
type State string

// The states of a resource.
const (
	Pending    State = "pending"
	Creating   State = "creating"
	Running    State = "running"
	Stopped    State = "stopped"
	Failed     State = "failed"
	Destroying State = "destroying"
)

// Resource is something that exists at a provider.
type Resource struct {
	Kind     Kind
	Ref      string // the provider's own name for it
	Token    string
	Mark     Mark
	Name     string
	State    State
	Reason   string // of Failed or Stopped, where known
	Template string
	Address  string // by which the system's other machines reach it
	PublicIP string
	Hostname string
	Region   string
	PerHour  float64
	Created  time.Time
}

// Page is an opaque cursor; empty begins, and ends, a listing.
type Page string

// Provider is a vendor module. Every method may be called concurrently, again
// after a crash, and must return when ctx ends. Errors are *Error where their
// kind matters to the caller.
type Provider interface {
	// Describe tells the module's capabilities. It makes no call.
	Describe() Capabilities

	// Offer answers with zero or more proposals for each need, best first,
	// until ctx ends. account may be nil: offers need no credentials. An error
	// beside proposals says why there are no more, for want of disk say; who
	// asks shows it where a need is left without an offer.
	Offer(ctx context.Context, call Call, account *Account) ([]Proposal, error)

	// Prepare checks account and class and brings what is needed in place.
	// Nothing it does is billable.
	Prepare(ctx context.Context, account Account, class Class) error

	// Create asks for a resource and returns on acceptance; Get tells when it
	// runs. The same token returns the resource made before.
	Create(ctx context.Context, account Account, req Request) (Resource, error)

	// Get returns the resource, or NotFound once it is gone.
	Get(ctx context.Context, account Account, ref string) (Resource, error)

	// List returns what bears mark's home (and system, path, machine, where
	// mark names them), page by page.
	List(ctx context.Context, account Account, mark Mark, page Page) ([]Resource, Page, error)

	// Operate does op to the resource. What Describe does not declare is
	// refused as NotSupported.
	Operate(ctx context.Context, account Account, ref string, op Operation) error

	// Destroy ends the resource; it is gone when Get says NotFound. Destroying
	// what is gone succeeds.
	Destroy(ctx context.Context, account Account, ref string) error
}
