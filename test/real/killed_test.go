package real

import (
	"strings"
	"testing"
)

// What does not end within its time is killed, and whoever asked for its end is
// told: where, after how long, and what gives it longer.
func TestWhoHadToBeKilledAtItsEndIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	h := newHome(t)
	deaf := `p extends Process { command [| "sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done" |]; readyLine "deaf"; stopTimeout 1; }`
	with := `sfConfig extends { m extends VM { ` + deaf + ` } }`
	want := []string{
		"aloft: warning: m:p had to be killed: its process on s/m did not end within 1s of its signal (SIGTERM); what it had not written may be lost",
		"stopTimeout gives it longer; its last output, which may say why: deaf",
	}
	told := func(by, out string) {
		t.Helper()
		for _, text := range want {
			if n := strings.Count(out, text); n != 1 {
				t.Errorf("%s says %d times %q:\n%s", by, n, text, out)
			}
		}
	}
	h.do("up", h.write("s", with), "-y")
	told("up", h.do("up", h.write("s", `sfConfig extends { m extends VM; }`), "-y"))
	h.do("up", h.write("s", with), "-y")
	told("down", h.do("down", "s", "-y"))
}
