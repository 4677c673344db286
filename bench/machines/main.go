// Command machines measures what people wait for, against the real binary, in
// a home of its own, on this machine: systems of 1 to 200 light machines with
// one component each, up to all running, unchanged, and down again; the memory
// of the daemons; and, for comparison, a shell script that makes as many
// namespaces, links and mounts. It needs root on Linux, removes what it made,
// and prints Markdown. It is a measurement, not a test: it judges nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"aloft/bench/product"
)

func main() {
	aloft := flag.String("aloft", "bin/aloft", "the binary to measure")
	counts := flag.String("counts", "1,10,40,200", "how many machines, comma-separated")
	baseline := flag.Bool("baseline", true, "also measure the shell script")
	during := flag.String("during", "", "a command to run while the largest system is made; PID in its environment is the managing daemon's")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *aloft, *counts, *baseline, *during); err != nil {
		fmt.Fprintln(os.Stderr, "machines:", err)
		os.Exit(1)
	}
}

// row is what was measured with one number of machines.
type row struct {
	machines               int
	up, first, again, down time.Duration
	changed, back          time.Duration // one file of one machine
	managerCPU, machineCPU time.Duration // spent by the end of up
	manager                int64         // PSS in KiB, everything running
	daemons, inits         []int64       // PSS in KiB of each
	script, scriptDown     time.Duration
	scriptCPU              time.Duration
}

func run(ctx context.Context, out io.Writer, aloft, counts string, baseline bool, during string) (err error) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return errors.New("light machines need root on Linux")
	}
	sizes, err := product.Counts(counts, 2000)
	if err != nil {
		return fmt.Errorf("-counts: %w", err)
	}
	if aloft, err = filepath.Abs(aloft); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "aloft-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	p := measured{product.Product{Binary: aloft, Home: filepath.Join(dir, "home")}}
	conditions := product.Conditions()
	version, err := p.version(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := p.Call(ctx, "daemon", "start"); err != nil {
		return err
	}
	start := time.Since(began)
	defer func() { err = errors.Join(err, p.End()) }()
	time.Sleep(3 * time.Second) // at rest is after whatever starting leaves to do
	pid, err := p.PID(ctx)
	if err != nil {
		return err
	}
	rest, err := pss(pid)
	if err != nil {
		return err
	}

	var rows []row
	for _, n := range sizes {
		watch := ""
		if n == slices.Max(sizes) {
			watch = during
		}
		r, err := p.measure(ctx, dir, n, watch)
		if err != nil {
			return fmt.Errorf("%d machines: %w", n, err)
		}
		if baseline {
			if err := script(ctx, dir, &r); err != nil {
				return fmt.Errorf("script with %d: %w", n, err)
			}
		}
		rows = append(rows, r)
	}
	fmt.Fprintf(out, "%s\n\n", conditions)
	report(out, version, start, rest, rows)
	return nil
}

func report(out io.Writer, version, start time.Duration, rest int64, rows []row) {
	fmt.Fprintf(out, "| | |\n|---|---|\n")
	fmt.Fprintf(out, "| `aloft version` | %s |\n", product.Round(version))
	fmt.Fprintf(out, "| `aloft daemon start`, a new home | %s |\n", product.Round(start))
	fmt.Fprintf(out, "| managing daemon at rest, PSS | %.1f MB |\n\n", float64(rest)/1024)

	fmt.Fprintln(out, "| machines | `up` to all running | each | accepted plan to first machine answering | `up`, unchanged | `up`, one file changed | `rollback` of it | `down` | script makes | script removes | `up` / script |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range rows {
		made, removed, ratio := "–", "–", "–"
		if r.script > 0 {
			made, removed = product.Round(r.script), product.Round(r.scriptDown)
			ratio = fmt.Sprintf("%.2f", r.up.Seconds()/r.script.Seconds())
		}
		fmt.Fprintf(out, "| %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.machines, product.Round(r.up), product.Round(r.up/time.Duration(r.machines)),
			product.Round(r.first), product.Round(r.again), product.Round(r.changed), product.Round(r.back), product.Round(r.down), made, removed, ratio)
	}
	fmt.Fprintln(out, "\n| machines | processor time per machine: managing daemon | machine | script | managing daemon, PSS | a machine's daemon, PSS: median / largest | its process 1, PSS: median |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|")
	for _, r := range rows {
		slices.Sort(r.daemons)
		slices.Sort(r.inits)
		n := time.Duration(r.machines)
		fmt.Fprintf(out, "| %d | %s | %s | %s | %.1f MB | %.1f / %.1f MB | %.1f MB |\n", r.machines,
			product.Round(r.managerCPU/n), product.Round(r.machineCPU/n), product.Round(r.scriptCPU/n), float64(r.manager)/1024,
			float64(median(r.daemons))/1024, float64(r.daemons[len(r.daemons)-1])/1024, float64(median(r.inits))/1024)
	}
}

func median[T int64 | time.Duration](sorted []T) T { return sorted[len(sorted)/2] }
