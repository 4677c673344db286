package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"aloft/bench/product"
)

// measured is the product under measurement.
type measured struct{ product.Product }

// version returns the median time of aloft version.
func (p measured) version(ctx context.Context) (time.Duration, error) {
	var times []time.Duration
	for range 21 {
		began := time.Now()
		if err := p.Call(ctx, "version"); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return median(times), nil
}

// measure makes a system of n machines, looks at it, and removes it.
func (p measured) measure(ctx context.Context, dir string, n int, during string) (row, error) {
	r := row{machines: n}
	name := fmt.Sprintf("bench%d", n)
	file := filepath.Join(dir, name+".sf")
	if err := os.WriteFile(file, describe(n, 0), 0o600); err != nil {
		return r, err
	}
	pid, err := p.PID(ctx)
	if err != nil {
		return r, err
	}
	if during != "" {
		cmd := exec.CommandContext(ctx, "sh", "-c", during)
		cmd.Env = append(os.Environ(), fmt.Sprint("PID=", pid))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return r, err
		}
		defer func() { _ = cmd.Wait() }()
	}

	before, err := cpu(pid)
	if err != nil {
		return r, err
	}
	began := time.Now()
	if err := p.Call(ctx, "up", "-y", file); err != nil {
		return r, err
	}
	r.up = time.Since(began)
	after, err := cpu(pid)
	if err != nil {
		return r, err
	}
	r.managerCPU = after - before
	if r.first, err = p.first(ctx, name); err != nil {
		return r, err
	}
	if err := p.daemons(&r, pid); err != nil {
		return r, err
	}
	up := []string{"up", "-y", file}
	if r.again, err = p.times(ctx, func(int) ([]string, error) { return up, nil }); err != nil {
		return r, err
	}
	// One file of one machine is changed, then the whole taken back, in turns.
	if r.changed, err = p.times(ctx, func(i int) ([]string, error) { return up, os.WriteFile(file, describe(n, i+1), 0o600) }); err != nil {
		return r, err
	}
	if r.back, err = p.times(ctx, func(int) ([]string, error) { return []string{"rollback", name, "-y"}, nil }); err != nil {
		return r, err
	}

	began = time.Now()
	err = p.Call(ctx, "down", name, "-y")
	r.down = time.Since(began)
	return r, err
}

// times returns the median time of a command that is run five times; prepare
// makes the nth.
func (p measured) times(ctx context.Context, prepare func(int) ([]string, error)) (time.Duration, error) {
	var times []time.Duration
	for i := range 5 {
		command, err := prepare(i)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := p.Call(ctx, command...); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return median(times), nil
}

// describe returns a system of n machines with one process each, and a file on
// the first.
func describe(n, version int) []byte {
	var b bytes.Buffer
	b.WriteString("#include \"aloft/components.sf\"\n")
	b.WriteString("One extends VM {\n  cloudProvider \"local\"; memory 64;\n  p extends Process { command [| \"sleep\", \"infinity\" |]; }\n}\n")
	b.WriteString("sfConfig extends {\n")
	fmt.Fprintf(&b, "  m1 extends One { note extends File { path \"/etc/note\"; content \"%d\"; } }\n", version)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "  m%d extends One;\n", i+1)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// first returns the time between the acceptance of the plan and the first
// machine whose daemon answers, both as the events say.
func (p measured) first(ctx context.Context, system string) (time.Duration, error) {
	events, err := p.Events(ctx, system)
	if err != nil {
		return 0, err
	}
	var accepted time.Time
	for _, e := range events {
		switch {
		case e.Kind == "plan" && e.State == "running":
			accepted = e.Time
		case e.Kind == "component" && e.State == "deployed" && !accepted.IsZero():
			return e.Time.Sub(accepted), nil
		}
	}
	return 0, fmt.Errorf("events of %s name no machine that was deployed", system)
}

// daemons fills in what the daemons use of memory, and the machines' have used
// of the processors. They are found by the home's id in the command line of
// each machine's process 1.
func (p measured) daemons(r *row, pid int) error {
	id, err := os.ReadFile(filepath.Join(p.Home, "home-id"))
	if err != nil {
		return err
	}
	if r.manager, err = pss(pid); err != nil {
		return err
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		args := strings.Split(string(line), "\x00")
		if err != nil || len(args) < 4 || args[1] != "init" || !slices.Contains(args, strings.TrimSpace(string(id))) {
			continue // ended meanwhile, or not ours
		}
		one, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		size, err := pss(one)
		if err != nil {
			return err
		}
		r.inits = append(r.inits, size)
		spent, err := cpu(one)
		if err != nil {
			return err
		}
		r.machineCPU += spent
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", one, one))
		if err != nil {
			return err
		}
		for child := range strings.FieldsSeq(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return err
			}
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil || !strings.Contains(string(line), "\x00daemon\x00") {
				continue // a component that was adopted
			}
			size, err := pss(pid)
			if err != nil {
				return err
			}
			r.daemons = append(r.daemons, size)
			if spent, err = cpu(pid); err != nil {
				return err
			}
			r.machineCPU += spent
		}
	}
	if len(r.daemons) != r.machines {
		return fmt.Errorf("found %d machines' daemons", len(r.daemons))
	}
	return nil
}

// pss returns a process's proportional set size in KiB.
func pss(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("process %d: the kernel tells no PSS", pid)
}

// cpu returns the processor time that a process and its ended children have
// used, in steps of the kernel's 10 ms.
func cpu(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; the 14th to 17th fields count.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
