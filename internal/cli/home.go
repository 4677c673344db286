package cli

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"aloft/api"
	"aloft/client"

	"github.com/spf13/cobra"
)

// home returns the state folder: --home, else $ALOFT_HOME, else aloft in the
// XDG state folder; absolute.
func (a *app) home() (string, error) {
	dir := a.homeFlag
	if dir == "" {
		dir = a.Getenv("ALOFT_HOME")
	}
	if dir == "" {
		// The XDG specification wants relative paths ignored.
		if state := a.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
			dir = filepath.Join(state, "aloft")
		} else if user := a.Getenv("HOME"); user != "" {
			dir = filepath.Join(user, ".local", "state", "aloft")
		}
	}
	if dir == "" {
		return "", fail("give --home DIR or set ALOFT_HOME", "no state folder: neither HOME nor XDG_STATE_HOME is set")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("state folder %s: %w", dir, err)
	}
	return abs, nil
}

// connect returns the client that commands use: of the chosen context's
// cluster, or of the home's daemon, which may not be running, and of the other
// managers of its cluster.
func (a *app) connect() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	if a.machineFlag != "" {
		return a.connectMachine()
	}
	access, err := a.chosen()
	if err != nil {
		return nil, err
	}
	if access != nil {
		a.client, err = client.NewCluster("", access)
		return a.client, err
	}
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	socket := client.SocketPath(home, a.Getenv)
	if access, err = client.HomeAccess(home); err != nil {
		return nil, err
	}
	// A host's own daemon answers little; a lone manager's is all there is.
	if access == nil || len(access.Managers) < 2 && access.Role != string(api.RoleViewer) {
		a.client = client.New(socket)
		return a.client, nil
	}
	a.client, err = client.NewCluster(socket, access)
	return a.client, err
}

// connectMachine returns a client of the machine that --machine names: its own
// daemon answers, whether or not a manager lives.
func (a *app) connectMachine() (*client.Client, error) {
	address := a.machineFlag
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, machinePort)
	}
	access, err := a.chosen()
	if err != nil {
		return nil, err
	}
	if access != nil {
		access, err = access.ForMachine(address)
	} else {
		var home string
		if home, err = a.home(); err == nil {
			access, err = client.HomeMachineAccess(home, address)
		}
	}
	if err != nil {
		return nil, err
	}
	if access == nil {
		return nil, fail("use the home that made the machine (--home), or a context of its cluster", "there is no certificate to show to machine %s", a.machineFlag)
	}
	a.client, err = client.NewCluster("", access)
	return a.client, err
}

// machinePort is where the daemons of machines listen.
const machinePort = "7400"

// machineAddress adds the flag that asks a machine itself.
func (a *app) machineAddress(c *cobra.Command) {
	c.Flags().StringVar(&a.machineFlag, "machine", "", "ask the machine at this `ADDRESS` itself: it needs no manager")
}

// connectOwn returns the client of the home's own daemon, and of no other.
func (a *app) connectOwn() (*client.Client, error) {
	if name := a.contextName(); name != "" {
		return nil, fail("leave out --context and ALOFT_CONTEXT", "this is about the daemon of a home on this host, not about a cluster (%s)", name)
	}
	home, err := a.home()
	if err != nil {
		return nil, err
	}
	if a.client != nil {
		a.client.Close()
	}
	a.client = client.New(client.SocketPath(home, a.Getenv))
	return a.client, nil
}

// notRunning says in its own words that err found no daemon; any other err is
// returned as it is.
func (a *app) notRunning(err error) error {
	if !errors.Is(err, client.ErrNoDaemon) {
		return err
	}
	if a.machineFlag != "" {
		return remedied{fmt.Errorf("machine %s does not answer: %w", a.machineFlag, err), "'aloft machines -o wide' tells where machines are"}
	}
	if name := a.contextName(); name != "" {
		return remedied{fmt.Errorf("no manager of context %s answers: %w", name, err), "'aloft context show' tells where they are looked for"}
	}
	home, e := a.home()
	if e != nil {
		return e
	}
	return remedied{
		fmt.Errorf("no daemon is running for %s", home),
		"'aloft up FILE' and 'aloft daemon start' start one; another home: --home or ALOFT_HOME",
	}
}
