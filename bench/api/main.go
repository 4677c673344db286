// Command api measures the Service API of a real daemon, in a home of its own:
// a system of so many components, reads at a fixed rate, and how long a change
// takes to reach everybody who watches. It prints Markdown and judges nothing.
//
//	go run ./bench/api -aloft bin/aloft -components 10000 -rate 200 -watchers 1000
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"aloft/api"
	"aloft/client"
)

func main() {
	aloft := flag.String("aloft", "bin/aloft", "the binary to measure")
	components := flag.Int("components", 10_000, "how many are stored")
	rate := flag.Int("rate", 200, "reads a second")
	last := flag.Duration("time", 10*time.Second, "how long is read")
	watchers := flag.Int("watchers", 1000, "how many follow the events")
	flag.Parse()
	if err := run(*aloft, *components, *rate, *last, *watchers); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run(aloft string, components, rate int, last time.Duration, watchers int) (err error) {
	home, err := os.MkdirTemp("", "aloft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	do := func(args ...string) error {
		cmd := exec.Command(aloft, append([]string{"--home", home}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("aloft %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := do("daemon", "start"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, do("daemon", "stop")) }()
	if err := deploy(do, home, "big", components); err != nil {
		return err
	}
	cl := client.New(client.SocketPath(home, os.Getenv))
	defer cl.Close()
	ctx := context.Background()
	st, err := cl.Daemon(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("| | |\n|---|---|\n")
	fmt.Printf("| managing daemon with %d components, PSS | %.1f MB |\n", components, float64(pss(st.PID))/1024)
	for _, read := range []struct {
		name string
		ask  func() error
	}{
		{"`systems`", func() error { _, err := cl.Systems(ctx); return err }},
		{"one value", func() error { _, err := cl.Get(ctx, "big", "c0:text", false); return err }},
		{"`deployment`", func() error { _, err := cl.Deployment(ctx, "big"); return err }},
	} {
		took, err := reads(read.ask, rate, last)
		if err != nil {
			return fmt.Errorf("%s: %w", read.name, err)
		}
		fmt.Printf("| %s, %d reads a second: median / 99 of 100 / longest | %s / %s / %s |\n", read.name, rate,
			at(took, 50).Round(time.Microsecond), at(took, 99).Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond))
	}
	reached, err := watch(ctx, cl, watchers, func() error { return deploy(do, home, "small", 1) })
	if err != nil {
		return err
	}
	fmt.Printf("| a change reaches the last of %d watchers after the first | %s |\n", watchers, reached.Round(time.Millisecond))
	fmt.Printf("| managing daemon with %d watchers, PSS | %.1f MB |\n", watchers, float64(pss(st.PID))/1024)
	return nil
}

// deploy makes a system of so many components that hold values and nothing else.
func deploy(do func(...string) error, home, name string, components int) error {
	var text strings.Builder
	text.WriteString("#include \"aloft/components.sf\";\nsfConfig extends Compound {\n")
	for i := range components {
		fmt.Fprintf(&text, "  c%d extends Compound { text \"component %d\"; }\n", i, i)
	}
	text.WriteString("}\n")
	file := filepath.Join(home, name+".sf")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return do("up", "-y", file)
}

// reads asks at a fixed rate, whether the one before was answered or not, and
// returns how long each took, sorted.
func reads(ask func() error, rate int, last time.Duration) ([]time.Duration, error) {
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range int(last.Seconds() * float64(rate)) {
		due := <-tick.C
		all.Go(func() {
			err := ask()
			mu.Lock()
			defer mu.Unlock()
			took, failed = append(took, time.Since(due)), errors.Join(failed, err)
		})
	}
	all.Wait()
	slices.Sort(took)
	return took, failed
}

func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

// watch has many follow the events, makes a change, and returns the longest
// time between the first and the last of them hearing of the same event.
func watch(ctx context.Context, cl *client.Client, many int, change func() error) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	d, err := cl.Deployment(ctx, "big")
	if err != nil {
		cancel()
		return 0, err
	}
	type times struct {
		first time.Time
		heard int
	}
	var mu sync.Mutex
	type event struct {
		origin   string
		sequence int64
	}
	heard := map[event]*times{}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	whole := make(chan time.Duration, 10_000)
	for range many {
		seq, err := cl.Events(ctx, api.EventQuery{After: d.Cursor, System: "small", Follow: true})
		if err != nil {
			return 0, err
		}
		all.Go(func() {
			for e, err := range seq {
				if err != nil {
					return
				}
				now := time.Now()
				mu.Lock()
				at := event{e.Origin, e.Sequence}
				t := heard[at]
				if t == nil {
					t = &times{first: now}
					heard[at] = t
				}
				if t.heard++; t.heard == many {
					whole <- now.Sub(t.first)
				}
				mu.Unlock()
			}
		})
	}
	if err := change(); err != nil {
		return 0, err
	}
	longest := time.Duration(0)
	for {
		select {
		case took := <-whole:
			longest = max(longest, took)
		case <-time.After(2 * time.Second):
			if longest == 0 {
				return 0, errors.New("no event reached every watcher")
			}
			return longest, nil
		}
	}
}

// pss returns a process's share of memory in KiB, 0 if it cannot be read.
func pss(pid int) (kib int64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "Pss: %d kB", &kib); err == nil {
			return kib
		}
	}
	return 0
}
