package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"aloft/component"
)

// ServiceName names what a component puts into folders of the system, where
// users other than the daemon's can read it: "aloft-" and a word that no other
// component has.
func ServiceName(c *component.Call) string {
	sum := sha256.Sum256([]byte(c.System + "\x00" + string(c.Path)))
	return "aloft-" + strings.Trim(unplain.ReplaceAllString(c.System+"-"+string(c.Path), "-"), "-") + "-" + hex.EncodeToString(sum[:4])
}

var unplain = regexp.MustCompile(`[^A-Za-z0-9]+`)

// Test runs a program that checks something, such as a configuration file. Its
// output is in the error.
func Test(ctx context.Context, command ...string) error {
	path, err := FindProgram(command, "/", DefaultPath)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, command[1:]...)
	cmd.Env = []string{"PATH=" + DefaultPath, "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return &component.Failure{
			Err:    fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, lines[0]),
			Output: lines[max(0, len(lines)-tailLines):],
		}
	}
	return nil
}

// Children returns the processes that the process of folder has started
// itself, by pid, with the titles they give themselves.
func (p *Processes) Children(folder string) (map[int]string, error) {
	c, err := current(folder)
	if err != nil {
		return nil, err
	}
	defer c.release()
	children := map[int]string{}
	for _, pid := range allPids() {
		if st, err := readStat(pid); err == nil && st.parent == c.pid && !st.dead() {
			title, _ := os.ReadFile(procPath(pid, "cmdline"))
			children[pid] = strings.TrimRight(strings.ReplaceAll(string(title), "\x00", " "), " ")
		}
	}
	return children, nil
}

// AwaitPorts waits until all addresses ("host:port") accept connections.
func AwaitPorts(ctx context.Context, addresses []string) error {
	for _, a := range addresses {
		for {
			err := Dial(ctx, []string{a})
			if err == nil {
				break
			}
			if sleep(ctx, readyInterval) != nil {
				return err
			}
		}
	}
	return nil
}
