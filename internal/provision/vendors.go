package provision

import (
	"context"
	"fmt"

	"aloft/provider"
)

// Fixed is a set of modules whose accounts need no secrets: each has the one
// account "default".
type Fixed []provider.Provider

// DefaultAccount is the account used where a description names none.
const DefaultAccount = "default"

// Provider returns the module called name.
func (f Fixed) Provider(name string) (provider.Provider, error) {
	for _, p := range f {
		if p.Describe().Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no provider %q in this daemon", name)
}

// Account returns the account called name, which has no settings.
func (f Fixed) Account(_ context.Context, module, name string) (provider.Account, error) {
	if name != DefaultAccount && name != "" {
		return provider.Account{}, fmt.Errorf("provider %s has no account %q", module, name)
	}
	return provider.Account{Name: DefaultAccount}, nil
}

// Accounts names the default account of each module.
func (f Fixed) Accounts() (names []AccountName) {
	for _, p := range f {
		names = append(names, AccountName{p.Describe().Name, DefaultAccount})
	}
	return names
}
