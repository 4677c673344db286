package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"aloft/bench/product"
)

//go:embed baseline.sh
var baselineScript string

// script measures baseline.sh with n machines: making and removing them. What
// it made is removed even when making failed.
func script(ctx context.Context, dir string, r *row) error {
	began := time.Now()
	cpu, err := shell(ctx, "make", dir, r.machines)
	r.script, r.scriptCPU = time.Since(began), cpu
	began = time.Now()
	_, undo := shell(context.WithoutCancel(ctx), "remove", dir, r.machines)
	r.scriptDown = time.Since(began)
	return errors.Join(err, undo)
}

// shell returns the processor time of the script and all it waited for.
func shell(ctx context.Context, what, dir string, n int) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "bash", "-c", baselineScript, "baseline.sh", what, dir+"/baseline", fmt.Sprint(n))
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", what, err, product.Tail(out))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
