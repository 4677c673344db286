package local

import (
	"testing"
	"time"

	"aloft/provider"
	"aloft/provider/providertest"
)

func TestConformance(t *testing.T) {
	for _, form := range []Form{Light, Process} {
		t.Run(string(form), func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) providertest.Harness {
				w := newWorld(t, form)
				first := true
				return providertest.Harness{
					New: func() provider.Provider {
						if !first {
							w.open()
						}
						first = false
						return w.d
					},
					Account:  w.account,
					Home:     w.config.ID,
					Need:     provider.Need{Name: "m", Cores: 1, Memory: 256},
					UserData: []byte("token"),
					Limit:    30 * time.Second,
					Pause:    time.Millisecond,
				}
			})
		})
	}
}
