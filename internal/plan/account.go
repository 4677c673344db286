package plan

import (
	"cmp"

	"github.com/google/uuid"

	"aloft/provider"
)

// MachineExecutor returns the id of who makes and ends a proposed machine: its
// host, or its account's executor.
func MachineExecutor(p provider.Proposal) string {
	if p.Host != "" {
		return p.Host
	}
	return AccountExecutor(p.Provider, p.Account)
}

// AccountExecutor returns the id of the executor of an account's resources. It
// belongs to no host: whichever manager owns the account runs it. The account ""
// is the one called default.
func AccountExecutor(provider, account string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("aloft:account/"+provider+"/"+cmp.Or(account, "default"))).String()
}
