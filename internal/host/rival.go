package host

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"

	"aloft/component"
)

// rival returns an error if what listens on a port that the process is to have
// belongs to another component: both found the port free and began, and this
// one cannot get it any more. A holder that is nobody's known process may well
// be this one's doing.
func (j *job) rival() error {
	mine := familyOf(j.folder).mark
	for _, address := range j.spec.Ready.Ports {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			continue // said before
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			continue
		}
		h, taken := HolderOf(host, n)
		if !taken || h.Pid == 0 {
			continue
		}
		if mark := markOf(h.Pid); mark != "" && mark != mine {
			return &component.Failure{
				Err:    fmt.Errorf("port %d on %s is in use by %s (pid %d) of another component", n, host, h.Program, h.Pid),
				Remedy: "choose another port for one of them",
				Output: tail(j.spec.Output, j.record.Output),
			}
		}
	}
	return nil
}

// markOf returns the mark of the component that began a process, or "".
func markOf(pid int) string {
	env, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return ""
	}
	for variable := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.HasPrefix(variable, []byte(markName+"=")) {
			return string(variable)
		}
	}
	return ""
}
