// Package check manages TCPCheck and HTTPCheck components: they start when a
// port is open or a page answers as wanted, and ping asks once again. They
// change nothing on their machine and start no goroutine.
package check

import (
	"context"
	"fmt"
	"time"

	"aloft/component"
	"aloft/internal/host"
)

// startTimeout bounds all attempts together; sfStartTimeout changes it.
const startTimeout = 10 * time.Minute

// pace says how often a check asks, and how long each time.
type pace struct {
	timeout, interval time.Duration
	attempts          int
}

func readPace(v *component.Values) pace {
	return pace{
		timeout:  time.Duration(v.Int("timeout")) * time.Millisecond,
		interval: time.Duration(v.Int("interval")) * time.Millisecond,
		attempts: v.Int("attempts"),
	}
}

// await asks until the answer is right, and at most as often as said.
func (p pace) await(ctx context.Context, env component.Environment, ask func(context.Context) error) error {
	begun := time.Now()
	for n := 1; ; n++ {
		err := p.once(ctx, ask)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w (after %d attempts): %w", err, n, ctx.Err())
		case n >= p.attempts:
			output, remedy := component.Detail(err)
			if remedy == "" {
				remedy = "look at what should answer (aloft logs), or give it longer with attempts and interval"
			}
			return &component.Failure{
				Err:    fmt.Errorf("%w, after %d attempts in %s", err, n, time.Since(begun).Round(time.Millisecond)),
				Output: output, Remedy: remedy,
			}
		}
		env.Progress(float64(n)/float64(p.attempts), err.Error())
		if host.Sleep(ctx, p.interval) != nil {
			return fmt.Errorf("%w (after %d attempts): %w", err, n, ctx.Err())
		}
	}
}

func (p pace) once(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return ask(ctx)
}
