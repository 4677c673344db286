package catalina

import (
	"io"
	"os"
	"strings"
)

// maxLog bounds how much of a log is looked through.
const maxLog = 1 << 20

// Printed returns the size of what Tomcat has printed so far.
func (t Tomcat) Printed() int64 {
	st, err := os.Stat(t.Log)
	if err != nil {
		return 0
	}
	return st.Size()
}

// printed returns what Tomcat printed since its log had that size.
func (t Tomcat) printed(since int64) []string {
	f, err := os.Open(t.Log)
	if err != nil {
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() < since {
		since = 0 // begun anew
	}
	b, err := io.ReadAll(io.NewSectionReader(f, since, maxLog))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(strings.ToValidUTF8(string(b), "\uFFFD"), "\n"), "\n")
}

// failed reports whether Tomcat says that it could not bring up the version.
func (v Version) failed(log []string) bool {
	for _, line := range log {
		if strings.Contains(line, "Error deploying configuration descriptor") && strings.Contains(line, v.name()) ||
			strings.Contains(line, "startup failed due to previous errors") && strings.Contains(line, "["+v.Path+"##"+strings.SplitN(v.name(), "##", 2)[1]+"]") {
			return true
		}
	}
	return false
}

// troubles picks from a log what tells why something failed, at most ten
// lines.
func troubles(log []string) []string {
	var found []string
	for _, line := range log {
		if strings.Contains(line, " SEVERE ") || strings.Contains(line, "Caused by:") || strings.Contains(line, "Exception:") {
			found = append(found, line)
		}
	}
	if found == nil {
		found = log
	}
	return found[max(0, len(found)-10):]
}
