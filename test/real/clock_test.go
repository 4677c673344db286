package real

import (
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clockFile is where the daemons of a node, and of the machines on it, find by
// how many seconds their clock is off: eight bytes in this computer's order. It
// lies in a file system of the node's own, which its machines have too.
const clockFile = "/var/opt/aloft-clock"

// shift is a file of package time in the programs that have such a clock. A
// kernel has one clock for all its processes; so the library that reads it is
// another one. All that the program asks for the time by is off then, as after
// somebody has set it: TLS, the store, timestamps. What timers run by is not, as
// with a kernel.
const shift = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var shift = func() *int64 {
	file, err := syscall.Open("` + clockFile + `", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return new(int64)
	}
	defer syscall.Close(file)
	page, err := syscall.Mmap(file, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}()

func shifted() int64 { return atomic.LoadInt64(shift) }
`

// clocks is the program whose clock can be set, once it is built.
var clocks struct {
	sync.Once
	path string
	err  error
}

// clocked returns the path of the program with a clock that can be set.
func clocked(t *testing.T) string {
	t.Helper()
	clocks.Do(func() { clocks.path, clocks.err = buildClocked(filepath.Dir(binary)) })
	if clocks.err != nil {
		t.Fatal(clocks.err)
	}
	return clocks.path
}

func buildClocked(dir string) (path string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		return "", err
	}
	const reads = "	sec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(text), "func Now() Time {\n"+reads, "func Now() Time {\n"+reads+"	sec += shifted()\n", 1)
	if changed == string(text) {
		return "", fmt.Errorf("%s/time.go reads the clock in another way than this test knows", library)
	}
	replace := map[string]string{}
	for name, text := range map[string]string{"time.go": changed, "shifted.go": shift} {
		replace[filepath.Join(library, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "aloft-clocked")
	out, err := exec.Command("go", "build", "-overlay", file, "-o", path, "aloft/cmd/aloft").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build with another clock: %w\n%s", err, out)
	}
	return path, nil
}

// newClock gives a node a clock of its own, which is right.
func (n *node) newClock() {
	n.t.Helper()
	within(n.t, n.pid, "mount -t tmpfs aloft-clock "+filepath.Dir(clockFile))
	n.clock(0)
}

// clock sets the clock of a node and its machines, also of daemons that run:
// off by so much.
func (n *node) clock(off time.Duration) {
	n.t.Helper()
	file, err := os.OpenFile(fmt.Sprintf("/proc/%d/root%s", n.pid, clockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(endian.NativeEndian.AppendUint64(nil, uint64(int64(off/time.Second))), 0); err != nil {
		n.t.Fatal(err)
	}
}
