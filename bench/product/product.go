// Package product runs an aloft binary in a home of its own, to measure it.
package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"aloft/api"
)

// Product is the binary under measurement with its home.
type Product struct {
	Binary, Home string
	Env          []string // more of its environment, NAME=value
}

// Output runs a command of the product and returns what it printed.
func (p Product) Output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.Binary, append([]string{"--home", p.Home}, args...)...)
	cmd.Env = append(os.Environ(), p.Env...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("aloft %s: %w\n%s%s", strings.Join(args, " "), err, Tail(out), Tail(problems.Bytes()))
	}
	return out, nil
}

// Call runs a command of the product.
func (p Product) Call(ctx context.Context, args ...string) error {
	_, err := p.Output(ctx, args...)
	return err
}

// Time runs a command of the product and returns how long it took.
func (p Product) Time(ctx context.Context, args ...string) (time.Duration, error) {
	began := time.Now()
	err := p.Call(ctx, args...)
	return time.Since(began), err
}

// PID returns the managing daemon's process id.
func (p Product) PID(ctx context.Context) (int, error) {
	out, err := p.Output(ctx, "daemon", "status", "-o", "json")
	if err != nil {
		return 0, err
	}
	var status struct{ PID int }
	if err := json.Unmarshal(out, &status); err != nil {
		return 0, fmt.Errorf("daemon status: %w", err)
	}
	return status.PID, nil
}

// Events returns the events of a system, in order.
func (p Product) Events(ctx context.Context, system string) ([]api.Event, error) {
	out, err := p.Output(ctx, "events", system, "-o", "json")
	if err != nil {
		return nil, err
	}
	var events []api.Event
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var e api.Event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return events, nil
		} else if err != nil {
			return nil, fmt.Errorf("events of %s: %w", system, err)
		}
		events = append(events, e)
	}
}

// End removes every system that an interrupted measurement may have left, and
// ends the daemon. It does not stop when the measurement was cancelled.
func (p Product) End() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := p.Output(ctx, "systems", "-o", "name")
	for system := range strings.FieldsSeq(string(out)) {
		err = errors.Join(err, p.Call(ctx, "down", system, "-y", "--now"))
	}
	return errors.Join(err, p.Call(ctx, "daemon", "stop"))
}

// Counts reads numbers of machines, comma-separated, from 1 to most.
func Counts(text string, most int) (counts []int, err error) {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%q is not a number of machines, from 1 to %d", word, most)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// Conditions says on what figures are taken.
func Conditions() string {
	return fmt.Sprintf("%s, %d processors, load %s before, Linux %s, %s, %s.", time.Now().UTC().Format(time.DateOnly),
		runtime.NumCPU(), word("/proc/loadavg", 0), word("/proc/sys/kernel/osrelease", 0), runtime.GOARCH, runtime.Version())
}

// word returns the i-th word of a file, or "?".
func word(file string, i int) string {
	data, err := os.ReadFile(file)
	if words := strings.Fields(string(data)); err == nil && i < len(words) {
		return words[i]
	}
	return "?"
}

// Round writes a time as a reader wants it.
func Round(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// Tail returns the last 2000 bytes of a text.
func Tail(text []byte) []byte { return text[max(0, len(text)-2000):] }
