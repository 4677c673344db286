package host

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A daemon may die in the midst of an installation, which goes on and holds
// the locks.
func TestInstallerOfADaemonThatDiedIsEndedBeforeTheNext(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can install packages")
	}
	orphan := exec.Command("sleep", "100")
	orphan.Env = aptEnv()
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	defer orphan.Process.Kill()
	if err := mayBegin(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
}

// What one component finds installed must not be what another is removing.
func TestPackagesAreLookedAtOneOperationAtATime(t *testing.T) {
	p := NewPackages(slog.New(slog.DiscardHandler))
	p.slot <- struct{}{}
	w := Wanted{Names: []string{"bash"}, WorkDir: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Install(ctx, w, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("install: %v", err)
	}
	if err := p.Remove(ctx, w.WorkDir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("remove: %v", err)
	}
	if c, err := readClaims(claimsFile); err != nil || c[w.WorkDir] != nil {
		t.Errorf("claimed meanwhile: %v, %v", c, err)
	}
}
