//go:build !race

package launch

import "testing"

// The race detector itself needs memory for large texts.
func TestLargeEnvironmentIsHandedOnUnderLimits(t *testing.T) { reach(t, 60_000) }
