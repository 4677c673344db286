//go:build crash

// Package crash ends the process by SIGKILL at instants that a test has chosen.
package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// On says that this binary has the instants.
const On = true

// mu guards what is below.
var (
	mu   sync.Mutex
	file string // "" in a daemon that no test is interested in
)

// In looks for a folder crash.d in dir and above. Its file called name holds
// numbers: after so many instants the process is ended; the next number counts
// from there, in the process that takes its place. NAME.log gets a line for
// each instant that there was.
func In(dir, name string) {
	mu.Lock()
	defer mu.Unlock()
	for ; ; dir = filepath.Dir(dir) {
		folder := filepath.Join(dir, "crash.d")
		if st, err := os.Stat(folder); err == nil && st.IsDir() {
			file = filepath.Join(folder, name)
			return
		}
		if dir == filepath.Dir(dir) {
			return
		}
	}
}

// Here is an instant.
func Here(what string) {
	mu.Lock()
	defer mu.Unlock()
	if file == "" {
		return
	}
	log, err := os.OpenFile(file+".log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(err)
	}
	defer log.Close()
	fmt.Fprintln(log, what)
	text, _ := os.ReadFile(file) // there is none while nothing is wished
	counts := strings.Fields(string(text))
	if len(counts) == 0 {
		return
	}
	n, err := strconv.Atoi(counts[0])
	if err != nil {
		panic(err)
	}
	if counts[0] = strconv.Itoa(n - 1); n == 1 {
		counts = counts[1:]
	}
	if err := os.WriteFile(file+".new", []byte(strings.Join(counts, "\n")), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		panic(err)
	}
	if n == 1 {
		fmt.Fprintln(log, "killed")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
