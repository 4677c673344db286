package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"aloft/internal/identity"
	"aloft/internal/inventory"
	"aloft/value"
)

// userData is what a machine's first boot is handed: who it is, and how it
// enrols. It is what a cloud's metadata would hold.
type userData struct {
	Machine   string   `json:"machine"` // machine id (UUID)
	Name      string   `json:"name"`    // SYSTEM/PATH
	Hostname  string   `json:"hostname"`
	Token     string   `json:"token"`           // single-use
	Contacts  []string `json:"contacts"`        // host:port of managers, best first
	Proxy     string   `json:"proxy,omitempty"` // of packages, "http://host:port"
	Isolation bool     `json:"isolation"`       // a root file system of its own
}

func decodeUserData(text []byte) (u userData, err error) {
	if err := json.Unmarshal(text, &u); err != nil {
		return userData{}, fmt.Errorf("user data of this machine: %w", err)
	}
	return u, nil
}

// tokenLife is how long a machine may take from being asked for to its first
// call.
const tokenLife = time.Hour

// enrolments makes what machines need to enrol. It implements vm.Enrolments.
type enrolments struct {
	host     string // id of this daemon, if the machines are on its host
	identity *identity.Manager
	gateways Gateways
}

// UserData makes what a machine's first boot needs to enrol.
func (e enrolments) UserData(ctx context.Context, machineID, name string) ([]byte, error) {
	gw, err := e.gateways.Open(ctx)
	if err != nil {
		return nil, err
	}
	token, err := e.identity.NewToken(ctx, machineID, e.host, tokenLife)
	if err != nil {
		return nil, fmt.Errorf("token for machine %s: %w", name, err)
	}
	return json.Marshal(userData{
		Machine: machineID, Name: name, Hostname: hostnameOf(name), Token: token.String(),
		Contacts: contactsBy(e.identity, gw.Contact), Proxy: gw.Proxy, Isolation: gw.Isolation,
	})
}

// contactsBy returns where machines find managers: at first by the ways that
// this daemon has for them, and should it die, where the others are.
func contactsBy(i *identity.Manager, ways ...string) []string {
	list := slices.Clone(ways)
	for _, address := range contactsIn(i.Roster()) {
		if !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	return list
}

// hostnameOf returns the host name of the machine called SYSTEM/PATH.
func hostnameOf(name string) string {
	for i := range name {
		if name[i] == '/' {
			name = name[i+1:]
			break
		}
	}
	return inventory.Hostname(value.Path(name))
}
