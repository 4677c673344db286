package real

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// tick is how far the time of a file may be behind the clock: the kernel gives
// files the time of its last tick, of which there are a hundred a second or more.
const tick = 20 * time.Millisecond

// TestLogsOfTwoMachinesComeInTheOrderOfTime: processes that write the seconds of
// the clock, which both machines share, are shown in turns, and each line has
// the time when it was written; also those that are written while it looks on.
func TestLogsOfTwoMachinesComeInTheOrderOfTime(t *testing.T) {
	h := newHome(t)
	h.do("up", h.write("s", `sfConfig extends {
  tells extends DATA { command [| "sh", "-c", "while :; do date +%s; sleep 1; done" |]; }
  a extends VM { p extends Process { command PARENT:PARENT:tells:command; } }
  b extends VM { p extends Process { command PARENT:PARENT:tells:command; } }
}
`), "-y")
	var lines []api.LogLine
	eventually(t, 30*time.Second, "both have written for some seconds", func() bool {
		lines = nil
		written := map[string]int{}
		for text := range strings.Lines(h.do("logs", "s", "-o", "json")) {
			var l api.LogLine
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			written[l.Machine]++
			lines = append(lines, l)
		}
		return written["s/a"] >= 5 && written["s/b"] >= 5
	})
	turns := 0
	for i, l := range lines {
		second, err := strconv.ParseInt(l.Text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if l.Time.Add(tick).Unix() < second {
			t.Errorf("a line of %d is said to have been written at %d", second, l.Time.Unix())
		}
		if i > 0 && l.Time.Before(lines[i-1].Time) {
			t.Errorf("%s comes after %s", l.Time, lines[i-1].Time)
		}
		if i > 0 && l.Machine != lines[i-1].Machine {
			turns++
		}
	}
	if turns < 4 {
		t.Errorf("the machines were shown in %d turns: %+v", turns, lines)
	}
	follow := h.command("logs", "s", "-f", "-o", "json")
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	begun, last := time.Now().Add(-tick), map[string]time.Time{} // by machine: the past comes by time, the present as it comes
	news := map[string]int{}
	for r := json.NewDecoder(out); news["s/a"] < 4 || news["s/b"] < 4; {
		var l api.LogLine
		if err := r.Decode(&l); err != nil {
			t.Fatalf("followed for %s: %v, got %v", time.Since(begun), err, news)
		}
		for machine, at := range last {
			slack := time.Duration(0)
			if machine != l.Machine && l.Time.After(begun) {
				slack = time.Second
			}
			if l.Time.Before(at.Add(-slack)) {
				t.Errorf("while it is followed %s of %s comes after %s of %s", l.Time, l.Machine, at, machine)
			}
		}
		if last[l.Machine] = l.Time; l.Time.After(begun) {
			news[l.Machine]++
		}
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("four lines of each took %s", took)
	}
	_ = follow.Process.Kill()
	_ = follow.Wait()
	if out := h.do("logs", "s", "a", "--since", "1h", "-n", "2"); strings.Count(out, "a:p | ") != 2 {
		t.Errorf("the last two of a:\n%s", out)
	}
	h.do("down", "s", "-y")
}
