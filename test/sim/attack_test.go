package sim

import (
	"testing"

	"aloft/api"
)

func TestSystemOfPlainCompoundsAloneIsDeployed(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { c extends { d extends { x 1; } } }`)
		w.runs(`sfConfig extends { c extends { d extends { x 2; } } e extends {} }`)
		w.restartManager()
		w.expectState(api.SystemRunning)
		w.down(false)
	})
}
