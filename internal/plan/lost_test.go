package plan

import (
	"strings"
	"testing"
	"time"
)

// HL1, HL2, HL3: when what was on a machine that does not answer is placed
// again.
func TestLose(t *testing.T) {
	unsaid := OnLoss{Acts: true, Tenure: 60}
	stop := OnLoss{Acts: true, Tenure: 60, Isolation: "stop"}
	long := OnLoss{Acts: true, Tenure: 600, Isolation: "stop"}
	keep := OnLoss{Acts: true, Tenure: 60, Isolation: "keep"}
	data := OnLoss{Acts: true, Tenure: 60, Isolation: "stop", Data: true}
	moving := OnLoss{Acts: true, Tenure: 60, Isolation: "stop", Data: true, Replace: true}
	frame := OnLoss{Tenure: 60}
	for name, c := range map[string]struct {
		on     []OnLoss
		silent time.Duration
		gone   bool
		again  bool
		why    string
	}{
		"silence alone":               {on: []OnLoss{unsaid}, silent: 1000 * time.Hour, why: "silence alone"},
		"gone":                        {on: []OnLoss{unsaid}, gone: true, again: true},
		"gone, empty":                 {gone: true, again: true},
		"empty":                       {silent: time.Hour},
		"only a frame":                {on: []OnLoss{frame}, silent: time.Hour},
		"stop, within the tenure":     {on: []OnLoss{stop}, silent: 59 * time.Second, why: "after 1m11s"},
		"stop, within the margin":     {on: []OnLoss{stop}, silent: 70 * time.Second},
		"stop, over":                  {on: []OnLoss{frame, stop}, silent: 71 * time.Second, again: true},
		"the longest tenure counts":   {on: []OnLoss{stop, long}, silent: 10 * time.Minute},
		"the longest tenure is over":  {on: []OnLoss{long, stop}, silent: 11*time.Minute + 5*time.Second, again: true},
		"one of them says nothing":    {on: []OnLoss{stop, unsaid}, silent: time.Hour, why: "silence alone"},
		"keep, within":                {on: []OnLoss{keep}, silent: 70 * time.Second},
		"keep, over":                  {on: []OnLoss{keep, stop}, silent: 71 * time.Second, again: true, why: "may run there still"},
		"data":                        {on: []OnLoss{stop, data}, silent: time.Hour, why: "sfReplaceOnLoss"},
		"data, gone":                  {on: []OnLoss{data}, gone: true, why: "sfReplaceOnLoss"},
		"data that may be lost":       {on: []OnLoss{moving}, silent: 71 * time.Second, again: true},
		"data that may be lost, gone": {on: []OnLoss{moving}, gone: true, again: true},
	} {
		var on []Component
		for _, l := range c.on {
			on = append(on, Component{Path: "m:app", Machine: "m", OnLoss: l})
		}
		l := Lose(on, c.silent, c.gone)
		if l.Again != c.again || !strings.Contains(l.Why, c.why) {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// A machine has stopped everything before its owner stops waiting, also by a
// clock that is a tenth slow.
func TestMarginCoversASlowClock(t *testing.T) {
	for s := time.Duration(tenureLeast); s < 100_000; s = s * 3 / 2 {
		tenure := s * time.Second
		if slow := tenure * 11 / 10; tenure+Margin(tenure) <= slow {
			t.Errorf("tenure %s: by a slow clock it ends after %s, the owner waits for %s", tenure, slow, tenure+Margin(tenure))
		}
		if tenure <= StopTime+5*time.Second {
			t.Errorf("tenure %s leaves no time to ask for it", tenure)
		}
	}
}
