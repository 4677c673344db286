package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"aloft/api"
)

// TestCtrlCLeavesTheDeploymentGoing: the command ends with 130 and says how to
// follow, the daemon hears nothing of it.
func TestCtrlCLeavesTheDeploymentGoing(t *testing.T) {
	f, err := loadFake("")
	if err != nil {
		t.Fatal(err)
	}
	f.Endless = true
	f.script.Plan = api.Plan{ID: "p", Revision: 1, Steps: []api.Step{{ID: "1", Path: "web", Action: "create", Change: api.ChangeAdd}}}
	f.script.Deployment = api.Deployment{Plan: "p", Revision: 1}
	home, cl := daemonOf(t, f)
	file := filepath.Join(t.TempDir(), "shop.sf")
	if err := os.WriteFile(file, []byte("sfConfig extends { x 1; }"), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := aloft(t, "--home", home, "up", file, "-y")
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
	if d, err := cl.Deployment(t.Context(), "shop"); err != nil || d.State != api.DeploymentRunning {
		t.Errorf("the deployment is %+v, %v", d, err)
	}
}
