package daemon

import (
	"context"
	"encoding/json"
	"fmt"
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

// tokenLife is how long a machine may take from being asked for to its first
// call.
const tokenLife = time.Hour

// enrolments makes what machines need to enrol. It implements vm.Enrolments.
type enrolments struct {
	identity *identity.Manager
	gateways Gateways
}

// UserData makes what a machine's first boot needs to enrol.
func (e enrolments) UserData(ctx context.Context, machineID, name string) ([]byte, error) {
	gw, err := e.gateways.Open(ctx)
	if err != nil {
		return nil, err
	}
	token, err := e.identity.NewToken(ctx, machineID, tokenLife)
	if err != nil {
		return nil, fmt.Errorf("token for machine %s: %w", name, err)
	}
	return json.Marshal(userData{
		Machine: machineID, Name: name, Hostname: hostnameOf(name), Token: token.String(),
		Contacts: []string{gw.Contact}, Proxy: gw.Proxy, Isolation: gw.Isolation,
	})
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
