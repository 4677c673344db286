package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"aloft/api/peerpb"
	"aloft/internal/drivers/local"
	"aloft/internal/member"
	"aloft/internal/member/memberpb"
	"aloft/provider"
)

// offerTime is how long a host may take for its proposals, and, where there is
// no session with it because one of the two has just begun, to have one. One
// that hangs must not keep a plan waiting.
const offerTime = 3 * time.Second

// everyHost is the provider of machines that are made out of hosts, wherever
// these are: its offers are those of every host in reach, its own first. What
// it is asked beyond offers is its own host's. It plans; the steps of the plan
// are those of the hosts.
type everyHost struct {
	provider.Provider // of this host; nil: it is none
	m                 *Manager
}

// Describe tells of the kind of machines; those of this host where it is one.
func (e everyHost) Describe() provider.Capabilities {
	if e.Provider != nil {
		return e.Provider.Describe()
	}
	return local.Describe(local.Light)
}

// everyHosts returns the providers that a manager plans with.
func (m *Manager) everyHosts() []provider.Provider {
	var list []provider.Provider
	among := false
	for _, p := range m.world.Providers {
		if p.Describe().Site == provider.SiteHost {
			p, among = everyHost{p, m}, true
		}
		list = append(list, p)
	}
	if !among && m.world.StoreMembers != nil {
		list = append(list, everyHost{nil, m})
	}
	return list
}

// Offer gathers the proposals of all hosts.
func (e everyHost) Offer(ctx context.Context, call provider.Call, account *provider.Account) ([]provider.Proposal, error) {
	request, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	var hosts []*memberpb.Member
	for _, r := range e.m.fellows.all() {
		if member.Is(r, member.Host) && r.Id != e.m.world.MachineID {
			hosts = append(hosts, r)
		}
	}
	answers := make([][]provider.Proposal, len(hosts)+1)
	failed := make([]error, len(hosts)+1)
	var wg sync.WaitGroup
	if e.Provider != nil {
		wg.Go(func() { answers[0], failed[0] = e.Provider.Offer(ctx, call, account) })
	}
	for i, h := range hosts {
		wg.Go(func() {
			list, err := e.ask(ctx, h.Id, request)
			if err != nil {
				err = fmt.Errorf("host %s: %w", h.Name, err)
			}
			answers[i+1], failed[i+1] = list, err
		})
	}
	wg.Wait()
	var offers []provider.Proposal
	for _, a := range answers {
		offers = append(offers, a...)
	}
	return offers, errors.Join(failed...)
}

// ask asks one host.
func (e everyHost) ask(ctx context.Context, id string, request []byte) ([]provider.Proposal, error) {
	ctx, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	s, err := sessions{e.m}.session(ctx, id)
	if err != nil {
		return nil, errors.New("it is not in reach")
	}
	reply, err := peerpb.NewHostingClient(s).Offer(ctx, &peerpb.OfferRequest{Call: request})
	if err != nil {
		return nil, err
	}
	return offered(reply)
}

// offered reads what a host answered: proposals, and why there are no more.
func offered(reply *peerpb.OfferReply) (list []provider.Proposal, err error) {
	if err := json.Unmarshal(reply.Proposals, &list); err != nil {
		return nil, fmt.Errorf("its proposals: %w", err)
	}
	if reply.Error != "" {
		return list, errors.New(reply.Error)
	}
	return list, nil
}
