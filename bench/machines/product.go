package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// product is the binary under measurement with its home.
type product struct{ binary, home string }

// output runs a command of the product and returns what it printed.
func (p product) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.binary, append([]string{"--home", p.home}, args...)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("aloft %s: %w\n%s%s", strings.Join(args, " "), err, tail(out), tail(problems.Bytes()))
	}
	return out, nil
}

func (p product) call(ctx context.Context, args ...string) error {
	_, err := p.output(ctx, args...)
	return err
}

// version returns the median time of aloft version.
func (p product) version(ctx context.Context) (time.Duration, error) {
	var times []time.Duration
	for range 21 {
		began := time.Now()
		if err := p.call(ctx, "version"); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return median(times), nil
}

// pid returns the managing daemon's process id.
func (p product) pid(ctx context.Context) (int, error) {
	out, err := p.output(ctx, "daemon", "status", "-o", "json")
	if err != nil {
		return 0, err
	}
	var status struct{ PID int }
	if err := json.Unmarshal(out, &status); err != nil {
		return 0, fmt.Errorf("daemon status: %w", err)
	}
	return status.PID, nil
}

// end removes every system that an interrupted measurement may have left, and
// ends the daemon. It does not stop when the measurement was cancelled.
func (p product) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := p.output(ctx, "systems", "-o", "name")
	for system := range strings.FieldsSeq(string(out)) {
		err = errors.Join(err, p.call(ctx, "down", system, "-y", "--now"))
	}
	return errors.Join(err, p.call(ctx, "daemon", "stop"))
}

// measure makes a system of n machines, looks at it, and removes it.
func (p product) measure(ctx context.Context, dir string, n int, during string) (row, error) {
	r := row{machines: n}
	name := fmt.Sprintf("bench%d", n)
	file := filepath.Join(dir, name+".sf")
	if err := os.WriteFile(file, describe(n), 0o600); err != nil {
		return r, err
	}
	pid, err := p.pid(ctx)
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
	if err := p.call(ctx, "up", "-y", file); err != nil {
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
	var times []time.Duration
	for range 5 {
		began := time.Now()
		if err := p.call(ctx, "up", "-y", file); err != nil {
			return r, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	r.again = median(times)

	began = time.Now()
	err = p.call(ctx, "down", name, "-y")
	r.down = time.Since(began)
	return r, err
}

// describe returns a system of n machines with one process each.
func describe(n int) []byte {
	var b bytes.Buffer
	b.WriteString("#include \"aloft/components.sf\"\n")
	b.WriteString("One extends VM {\n  cloudProvider \"local\"; memory 64;\n  p extends Process { command [| \"sleep\", \"infinity\" |]; }\n}\n")
	b.WriteString("sfConfig extends {\n")
	for i := range n {
		fmt.Fprintf(&b, "  m%d extends One;\n", i+1)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// first returns the time between the acceptance of the plan and the first
// machine whose daemon answers, both as the events say.
func (p product) first(ctx context.Context, system string) (time.Duration, error) {
	out, err := p.output(ctx, "events", system, "-o", "json")
	if err != nil {
		return 0, err
	}
	var accepted time.Time
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var e struct {
			Time              time.Time
			Kind, State, Path string
		}
		if err := dec.Decode(&e); err != nil {
			return 0, fmt.Errorf("events of %s name no machine that was deployed: %w", system, err)
		}
		switch {
		case e.Kind == "plan" && e.State == "running":
			accepted = e.Time
		case e.Kind == "component" && e.State == "deployed" && !accepted.IsZero():
			return e.Time.Sub(accepted), nil
		}
	}
}

// daemons fills in what the daemons use of memory, and the machines' have used
// of the processors. They are found by the home's id in the command line of
// each machine's process 1.
func (p product) daemons(r *row, pid int) error {
	id, err := os.ReadFile(filepath.Join(p.home, "home-id"))
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

func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }
