package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"aloft/api"
	"aloft/client"
)

// TestCtrlCLeavesTheDeploymentGoing: the command ends with 130 and says how to
// follow, the daemon hears nothing of it.
func TestCtrlCLeavesTheDeploymentGoing(t *testing.T) {
	dir := t.TempDir()
	home, file := filepath.Join(dir, "h"), filepath.Join(dir, "shop.sf")
	if err := os.WriteFile(file, []byte("sfConfig extends { x 1; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := loadFake("")
	if err != nil {
		t.Fatal(err)
	}
	f.Endless = true
	f.script.Plan = api.Plan{ID: "p", Revision: 1, Steps: []api.Step{{ID: "1", Path: "web", Action: "create", Change: api.ChangeAdd}}}
	f.script.Deployment = api.Deployment{Plan: "p", Revision: 1}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	socket := client.SocketPath(home, os.Getenv)
	go func() { served <- f.serve(ctx, socket) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	cl := client.New(socket)
	defer cl.Close()
	for {
		if _, err := cl.Daemon(ctx); err == nil {
			break
		} else if !errors.Is(err, client.ErrNoDaemon) {
			t.Fatal(err)
		}
	}

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"aloft", "--home", home, "up", file, "-y"}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-f.followed
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != exitInterrupted {
		t.Errorf("ended with %v, want exit status %d", err, exitInterrupted)
	}
	for _, want := range []string{
		"revision 1 of shop goes on without you",
		"aloft up " + file,
		"aloft events shop -f",
	} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("standard error lacks %q:\n%s", want, errOut.String())
		}
	}
	if d, err := cl.Deployment(ctx, "shop"); err != nil || d.State != api.DeploymentRunning {
		t.Errorf("the deployment is %+v, %v", d, err)
	}
}
