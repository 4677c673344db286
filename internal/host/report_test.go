package host

import (
	"syscall"
	"testing"
	"time"
)

func TestWhoWasKilledIsToldWithWhatGivesItLonger(t *testing.T) {
	k := Killed{Signal: syscall.SIGTERM, After: 30 * time.Second}
	limited := Killed{Signal: syscall.SIGTERM, After: 30 * time.Second, Limited: true}
	const said = "its process on shop/web did not end within 30s of its signal (SIGTERM); what it had not written may be lost"
	for _, c := range []struct {
		k     Killed
		limit string
		own   bool
		want  string
	}{
		{k, "sfTerminateTimeout", true, said + "; stopTimeout gives it longer"},
		{k, "sfTerminateTimeout", false, said}, // nothing does
		{limited, "sfTerminateTimeout", true, said + "; sfTerminateTimeout gives it longer"},
		{limited, "", true, said},
		{Killed{Signal: k.Signal, After: k.After, Output: []string{"a", "b"}}, "", false, said + "; its last output, which may say why: a | b"},
	} {
		if got := c.k.text("shop/web", c.limit, c.own); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}
