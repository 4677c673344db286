// Command journal measures a machine's journal against the disk below it: how
// many records a second writers get onto it, each waiting until its own is
// there, and how many they get by appending to a plain file, where those who
// come while the disk is flushed share the next flush.
//
//	go run ./bench/journal -writers 16
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"aloft/api/peerpb"
	"aloft/internal/journal"
)

func main() {
	writers := flag.Int("writers", 16, "how many write at a time")
	last := flag.Duration("time", 100*time.Millisecond, "how long each is measured, in each round")
	rounds := flag.Int("rounds", 100, "the two take turns so often; which begins alternates")
	dir := flag.String("dir", "", "`folder` on the disk to measure; a temporary one if not given")
	flag.Parse()
	if err := run(*dir, *writers, *rounds, *last); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, writers, rounds int, last time.Duration) (err error) {
	if dir, err = os.MkdirTemp(dir, "journal"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := journal.Open(filepath.Join(dir, "journal.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	plain, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		return err
	}
	defer plain.Close()

	j, raw := journal.New(file), &grouped{file: plain}
	var steps atomic.Int64
	step := func() (float64, error) {
		records, err := rate(writers, last, func(ctx context.Context) error {
			n := steps.Add(1)
			s := journal.Step{
				System: "bench", Plan: fmt.Sprint("plan-", n/1000), ID: fmt.Sprintf("m1:p%d/start", n), Revision: 1,
				Path: "m1:p", Action: peerpb.Action_ACTION_START, Token: fmt.Sprintf("%036d", n),
			}
			if err := j.Begin(ctx, s); err != nil {
				return err
			}
			return j.End(ctx, s, journal.Result{Outcome: peerpb.Outcome_OUTCOME_DONE})
		})
		return 2 * records, err // an intent and a result
	}
	record := make([]byte, 160)
	plainly := func() (float64, error) {
		return rate(writers, last, func(context.Context) error { return raw.append(record) })
	}
	// What else the machine does changes from one moment to the next: only what
	// was measured side by side is compared, and neither is always the second.
	rates := [2][]float64{}
	ratios := make([]float64, rounds)
	for round := range rounds {
		var pair [2]float64
		for i := range 2 {
			which := (round + i) % 2
			if pair[which], err = []func() (float64, error){step, plainly}[which](); err != nil {
				return err
			}
		}
		for i := range 2 {
			rates[i] = append(rates[i], pair[i])
		}
		ratios[round] = pair[0] / pair[1]
	}
	fmt.Printf("%d writers, %d rounds of %s each\n\n", writers, rounds, last)
	fmt.Printf("| | lower quartile | median | upper quartile |\n|---|---|---|---|\n")
	for _, row := range []struct {
		name, form string
		of         []float64
	}{{"journal, records/s", "%.0f", rates[0]}, {"plain file, records/s", "%.0f", rates[1]}, {"journal / plain file", "%.2f", ratios}} {
		slices.Sort(row.of)
		fmt.Printf("| %s |", row.name)
		for q := 1; q < 4; q++ {
			fmt.Printf(" "+row.form+" |", row.of[q*(len(row.of)-1)/4])
		}
		fmt.Println()
	}
	return nil
}

// rate returns how often a second f ends, called by so many at a time.
func rate(writers int, last time.Duration, f func(context.Context) error) (float64, error) {
	var n atomic.Int64
	begun := time.Now()
	g, ctx := errgroup.WithContext(context.Background())
	for range writers {
		g.Go(func() error {
			for time.Since(begun) < last {
				if err := f(ctx); err != nil {
					return err
				}
				n.Add(1)
			}
			return nil
		})
	}
	err := g.Wait()
	return float64(n.Load()) / time.Since(begun).Seconds(), err
}

// grouped appends to a file; whoever comes while it is flushed shares the next
// flush.
type grouped struct {
	file *os.File

	mu      sync.Mutex
	pending []byte // guarded by mu
	waiting []chan error
	busy    bool
}

func (g *grouped) append(record []byte) error {
	done := make(chan error, 1)
	g.mu.Lock()
	g.pending = append(g.pending, record...)
	g.waiting = append(g.waiting, done)
	lead := !g.busy
	g.busy = true
	g.mu.Unlock()
	for lead {
		g.mu.Lock()
		bytes, waiting := g.pending, g.waiting
		g.pending, g.waiting = nil, nil
		if g.busy = len(waiting) > 0; !g.busy {
			g.mu.Unlock()
			break
		}
		g.mu.Unlock()
		_, err := g.file.Write(bytes)
		if err == nil {
			err = g.file.Sync()
		}
		for _, w := range waiting {
			w <- err
		}
	}
	return <-done
}
