package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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

// Command runs a program of the machine to its end, without a shell. Its output
// is in the error.
func Command(ctx context.Context, command ...string) error {
	_, err := Output(ctx, command...)
	return err
}

// Output is Command, and returns all that the program said, also if it failed.
func Output(ctx context.Context, command ...string) (string, error) {
	path, err := FindProgram(command, "/", DefaultPath)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, command[1:]...)
	cmd.Env = []string{"PATH=" + DefaultPath, "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return string(out), &component.Failure{
			Err:    fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, lines[0]),
			Output: lines[max(0, len(lines)-tailLines):],
		}
	}
	return string(out), nil
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

// Held is a process that others look after, by a handle that cannot come to
// mean another one.
type Held struct{ *child }

// Hold takes hold of the process pid; false if it has ended.
func Hold(pid int) (Held, bool) {
	c, err := grasp(pid)
	if err != nil {
		return Held{}, false
	}
	if c.dead() {
		c.release()
		return Held{}, false
	}
	return Held{c}, true
}

// Release lets go of the process.
func (h Held) Release() { h.release() }

// End waits for the end of a process that was told to end, and kills it if that
// does not come within patience.
func (h Held) End(ctx context.Context, patience time.Duration) error {
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := h.wait(patient); err == nil || ctx.Err() != nil {
		return err
	}
	if err := h.signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := h.wait(ctx)
	return err
}

// URI returns the address of what a server has at a port, "" where the port is 0.
func URI(scheme, address string, port int) string {
	switch {
	case port == 0:
		return ""
	case scheme == "http" && port == 80 || scheme == "https" && port == 443:
		if strings.Contains(address, ":") {
			address = "[" + address + "]"
		}
	default:
		address = net.JoinHostPort(address, strconv.Itoa(port))
	}
	return scheme + "://" + address + "/"
}

// AwaitPorts waits until all addresses ("host:port") accept connections.
func AwaitPorts(ctx context.Context, addresses []string) error {
	for _, a := range addresses {
		for {
			err := Dial(ctx, []string{a})
			if err == nil {
				break
			}
			if Sleep(ctx, readyInterval) != nil {
				return err
			}
		}
	}
	return nil
}
