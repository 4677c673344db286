package daemon

import (
	"encoding/json"
	"os"
	"path/filepath"

	"aloft/internal/durable"
	"aloft/internal/identity"
)

// clientFile is where a home says how its command line reaches the cluster
// when the home's own daemon does not answer. It has no secret in it.
const clientFile = "client.json"

// operatorIdentity is where package identity keeps, in the home, the key and
// certificate of who uses the home's command line.
const operatorIdentity = "identity/operator.pem"

// clientSettings is the content of that file. Package client reads it.
type clientSettings struct {
	Cluster  string   `json:"cluster"`
	Managers []string `json:"managers"` // host:port, best first
	// Identity is the file, in the home, with private key and chain of the
	// user that the command line is; its last certificates are the roots.
	Identity string `json:"identity"`
	Role     string `json:"role,omitempty"` // viewer: in the home of a host
}

func (c clientSettings) write(home string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(home, clientFile), append(text, '\n'))
}

// asViewer reports whether a home's command line may look at the cluster as
// that of a host does. One that was a manager's has another's certificate still.
func asViewer(home string) bool {
	text, err := os.ReadFile(filepath.Join(home, clientFile))
	var c clientSettings
	return err == nil && json.Unmarshal(text, &c) == nil && c.Role == string(identity.RoleViewer)
}
