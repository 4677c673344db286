package local

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "aloft/internal/drivers/local/initd" // `aloft init`
	"aloft/internal/drivers/local/names"
)

// TestMain lets the test binary be what machines run: `aloft init` as it is,
// and in the place of `aloft daemon run --machine` a small server that tells
// about its machine.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && strings.Join(os.Args[1:4], " ") == "daemon run --machine" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "manager" {
		if err := manage(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == "probe" {
		fmt.Println(probe(os.Args[2], "00000000").Why())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// answer is what a machine tells of itself.
type answer struct {
	PID, Parent int
	Component   int // the component it started, or adopted from the daemon before it
	Machine     string
	Host        string
	UserData    string
}

// port is the one machines' daemons listen on.
const port = "7400"

// serve is a machine's daemon: it starts a component once, and answers each
// connection with one line of JSON. A request line "run COMMAND" answers with
// the command's output.
func serve() error {
	l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv(names.AddressVar), port))
	if err != nil {
		return err
	}
	data, err := os.ReadFile(os.Getenv(names.DataVar))
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	me := answer{
		PID: os.Getpid(), Parent: os.Getppid(), Machine: os.Getenv(names.MachineVar), Host: host, UserData: string(data),
	}
	pidFile := filepath.Join(os.Getenv(names.StateVar), "component.pid")
	if b, err := os.ReadFile(pidFile); err == nil {
		fmt.Sscan(string(b), &me.Component)
	} else {
		c := exec.Command("sleep", "1000000")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return err
		}
		me.Component = c.Process.Pid
		if err := os.WriteFile(pidFile, fmt.Append(nil, me.Component), 0o600); err != nil {
			return err
		}
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 4096)
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if command, ok := strings.CutPrefix(string(buf[:n]), "run "); ok {
				out, _ := exec.Command("sh", "-c", command).CombinedOutput()
				_, _ = c.Write(out)
				return
			}
			_ = json.NewEncoder(c).Encode(me)
		}()
	}
}
