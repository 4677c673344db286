package host

import (
	"context"
	"os"
	"os/user"
	"strings"
	"time"
)

// lockedPause is between attempts while another tool changes accounts.
const lockedPause = 300 * time.Millisecond

// ChangeAccounts runs a tool that changes the machine's accounts, once no
// other one does.
func ChangeAccounts(ctx context.Context, command ...string) error {
	for {
		err := Command(ctx, command...)
		if err == nil || !strings.Contains(err.Error(), "cannot lock") {
			return err
		}
		if Sleep(ctx, lockedPause) != nil {
			return err
		}
	}
}

// SystemAccount returns the account of a service, which nobody logs in as, and
// makes it if it is not there. It stays, as those do that packages make.
func SystemAccount(ctx context.Context, name, home string) (User, error) {
	if _, err := user.Lookup(name); err != nil {
		err := ChangeAccounts(ctx, "useradd", "--system", "--user-group", "--no-create-home",
			"--home-dir", home, "--shell", "/usr/sbin/nologin", "--", name)
		// Another component may have made it in this moment.
		if err != nil && !strings.Contains(err.Error(), "already exists") {
			return User{}, err
		}
	}
	return LookupUser(name)
}

// GiveFolder makes a folder of the user's. The folder it lies in may be the
// user's too, who may have put a link there: what that leads to is not given
// away.
func GiveFolder(folder string, u User) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return explain(err)
	}
	return os.Lchown(folder, u.UID, u.GID)
}
