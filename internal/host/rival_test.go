package host

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Of two components that begin at once on one port, the one that does not get
// it must not take the other's answers for its own.
func TestAPortThatAnotherComponentHoldsIsNotReady(t *testing.T) {
	mine, other := t.TempDir(), t.TempDir()
	for name, c := range map[string]struct {
		env   []string
		wrong bool
	}{
		"another component": {[]string{familyOf(other).mark}, true},
		"this one":          {[]string{familyOf(mine).mark}, false},
		"nobody known":      {[]string{"A=b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			socket, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			holder := exec.Command("sleep", "100")
			holder.Env, holder.ExtraFiles = c.env, []*os.File{socket}
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
			socket.Close()
			l.Close()
			j := &job{folder: mine, spec: Spec{Ready: Ready{Ports: []string{l.Addr().String()}}}}
			err = j.rival()
			if (err != nil) != c.wrong || c.wrong && !strings.Contains(err.Error(), "of another component") {
				t.Errorf("got %v", err)
			}
		})
	}
}
