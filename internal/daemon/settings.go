package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"

	"aloft/internal/durable"
	"aloft/internal/member"
)

// settingsFile is where a home says what its daemon is. A home without one has
// a daemon that is alone: a manager and host that listens for no other.
const settingsFile = "daemon.json"

// settings are what a daemon is in its cluster.
type settings struct {
	Name   string   `json:"name,omitempty"`
	Roles  []string `json:"roles"`            // manage, host
	Listen string   `json:"listen,omitempty"` // address:port; "": for its own machines alone

	// Orphans is what is done with what belongs to nothing: adopt, destroy or
	// keep; "": adopt.
	Orphans string `json:"orphans,omitempty"`

	// Join is set until a join is through; a daemon that finds it goes on
	// where it was cut.
	Join *joining `json:"join,omitempty"`
	// Joined is the digest of the token that the daemon joined with, so that
	// the command that was cut can be given again.
	Joined string `json:"joined,omitempty"`
	// Removed is set once the cluster has removed this member: its daemon does
	// nothing more.
	Removed bool `json:"removed,omitempty"`
}

// joining is what a join needs to go on.
type joining struct {
	Address  string `json:"address"` // of the manager it joins at
	Token    string `json:"token"`
	Enrolled bool   `json:"enrolled,omitempty"` // the identity of the member is in its place
}

// digest is what is kept of a token.
func digest(token string) string {
	sum := sha256.Sum256([]byte("aloft joined\x00" + token))
	return hex.EncodeToString(sum[:])
}

// alone are the settings of a home without any.
func alone() settings { return settings{Roles: []string{member.Manage, member.Host}} }

// is reports whether the daemon has a role.
func (s settings) is(role string) bool { return slices.Contains(s.Roles, role) }

// listener listens where the settings say; nil: nowhere.
func (s settings) listener() (net.Listener, error) {
	if s.Listen == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for other daemons: %w; the address is 'listen' in %s", err, settingsFile)
	}
	return l, nil
}

// address is how other machines reach this host.
func (s settings) address() string {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

// readSettings reads what the daemon of a home is.
func readSettings(home string) (settings, error) {
	text, err := os.ReadFile(filepath.Join(home, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return alone(), nil
	}
	if err != nil {
		return settings{}, err
	}
	s, err := decodeSettings(text)
	if err != nil {
		return settings{}, fmt.Errorf("%s: %w", filepath.Join(home, settingsFile), err)
	}
	return s, nil
}

// decodeSettings reads daemon.json.
func decodeSettings(text []byte) (settings, error) {
	var s settings
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a slip of whoever edited it
	if err := d.Decode(&s); err != nil {
		return settings{}, err
	}
	if len(s.Roles) == 0 || len(member.Sorted(s.Roles)) != len(s.Roles) {
		return settings{}, fmt.Errorf("roles %q: want manage, host, or both", s.Roles)
	}
	return s, checkOrphans(s.Orphans)
}

// write replaces the settings of a home, durably.
func (s settings) write(home string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(home, settingsFile), append(text, '\n'))
}
