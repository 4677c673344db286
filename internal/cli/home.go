package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"aloft/client"
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

// connect returns the client of the home's daemon, which may not be running.
func (a *app) connect() (*client.Client, error) {
	if a.client == nil {
		home, err := a.home()
		if err != nil {
			return nil, err
		}
		a.client = client.New(client.SocketPath(home, a.Getenv))
	}
	return a.client, nil
}

// notRunning says in its own words that err found no daemon; any other err is
// returned as it is.
func (a *app) notRunning(err error) error {
	if !errors.Is(err, client.ErrNoDaemon) {
		return err
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
