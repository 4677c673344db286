package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"aloft/api"
)

// ping asks the components at and below path, and returns what each has
// answered, and the machines that did not.
func (w *world) ping(path string) (ok bool, said, silent []string) {
	w.t.Helper()
	p, err := w.service().Ping(context.Background(), "sys", path)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, x := range p.Components {
		said = append(said, fmt.Sprintf("%s %s %s %t %t %s", x.Path, x.Class, x.Machine, x.OK, x.Known, x.Reason))
	}
	return p.OK, said, p.Silent
}

func (w *world) expectPing(path string, ok bool, silent string, want ...string) {
	w.t.Helper()
	gotOK, said, machines := w.ping(path)
	if gotOK != ok || strings.Join(machines, " ") != silent || strings.Join(said, "\n") != strings.Join(want, "\n") {
		w.t.Errorf("ping %q: %t, silent %q\n%s\nwant: %t, %q\n%s", path, gotOK, machines, strings.Join(said, "\n"), ok, silent, strings.Join(want, "\n"))
	}
}

// Who fails its ping is named, who is on a machine without a session is not
// known, and only what is below the path is asked.
func TestPingAsksComponentsWhereTheyRun(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		text := `sfConfig extends {
			m1 extends VM { sfLivenessDelay 0; a extends Probe { below extends Probe {} } b extends Probe {} }
			m2 extends VM { sfLivenessDelay 0; c extends Probe {} }
		}`
		w.runs(text)
		well := []string{
			"m1 VM sys/m1 true true ", "m1:a Probe sys/m1 true true ", "m1:a:below Probe sys/m1 true true ", "m1:b Probe sys/m1 true true ",
			"m2 VM sys/m2 true true ", "m2:c Probe sys/m2 true true ",
		}
		w.expectPing("", true, "", well...)
		if _, err := w.service().Ping(context.Background(), "sys", "m1:nothing"); !errors.Is(err, &api.Error{Kind: api.KindNotFound}) {
			t.Errorf("a component that is not there: %v", err)
		}

		w.mute("m1:a")
		before := len(w.asked("m1:b"))
		w.expectPing("m1:a", false, "", "m1:a Probe sys/m1 false true it does not answer", "m1:a:below Probe sys/m1 true true ")
		if n := len(w.asked("m1:b")); n != before {
			t.Errorf("m1:b was asked, which is not below the path")
		}
		w.expectPing("m1:b", true, "", "m1:b Probe sys/m1 true true ")

		heal := w.cut(w.machine("sys/m2"))
		time.Sleep(time.Minute)
		begun := time.Now()
		w.expectPing("", false, "sys/m2",
			well[0], "m1:a Probe sys/m1 false true it does not answer", well[2], well[3],
			"m2 VM sys/m2 false false sys/m2 did not answer", "m2:c Probe sys/m2 false false sys/m2 did not answer")
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		heal()
		w.down(false)
	})
}

// However often somebody asks, nothing is ended by it: that is for the pings of
// the machine's own daemon.
func TestPingCountsAsNoFailureOfLiveness(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(`sfConfig extends { m1 extends VM { sfLivenessDelay 0; a extends Probe {} } }`)
		mark := len(w.stage.trace())
		w.mute("m1:a")
		for range 20 {
			w.expectPing("m1:a", false, "", "m1:a Probe sys/m1 false true it does not answer")
		}
		time.Sleep(time.Minute)
		w.expectDid(mark)
		w.expectStates(map[string]string{"m1:a": "running"})
		w.down(false)
	})
}
