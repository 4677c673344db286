package sim

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"aloft/value"
)

// failureOf returns the record that a component puts out, or nil.
func (w *world) failureOf(path, output string) *value.Component {
	w.t.Helper()
	v, err := w.service().Get(context.Background(), "sys", path+":"+output, false)
	if err != nil {
		return nil
	}
	decoded, err := value.Decode(v.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return decoded.(*value.Component)
}

// TR5: the record of a failed deploy or start is an output of the component, for
// people and for references, on its machine and on others, until it has succeeded.
func TestTR5FailedOperationsRecordIsAnOutput(t *testing.T) {
	for action, output := range map[string]string{"Deploy": "sfDeployFailure", "Start": "sfStartFailure"} {
		t.Run(action, func(t *testing.T) {
			scenario(t, options{seed: 1, random: 5 * time.Second}, func(w *world) {
				text := fmt.Sprintf(`sfConfig extends {
					m1 extends VM {
						near extends Probe { later LAZY OPTIONAL ("none") ROOT:m1:bad:%[2]s; }
						bad extends Probe { fail%[1]s 1; %[3]sTakes 60000; }
					}
					m2 extends VM { far extends Probe { later LAZY OPTIONAL ("none") ROOT:m1:bad:%[2]s; } }
				}`, action, output, strings.ToLower(action))
				w.up(text)
				w.expectStates(map[string]string{"m1:bad": "failed", "m1:near": "running", "m2:far": "running"})
				record := w.failureOf("m1:bad", output)
				if record == nil {
					t.Fatalf("m1:bad has no %s", output)
				}
				for name, want := range map[string]string{
					"type": "abnormal", "path": "m1:bad", "cause": "it was told to fail", "host": "sys/m1",
					"description": strings.ToLower(action) + " of m1:bad failed",
				} {
					if got, _ := record.Get(name); got != value.String(want) {
						t.Errorf("%s of the record is %v, want %q", name, got, want)
					}
				}
				// Both began their start after the failure, though they are defined before it.
				for _, reader := range []string{"m1:near", "m2:far"} {
					read, _ := w.last(value.Path(reader), "start").Attrs.Get("later")
					if got, ok := read.(*value.Component); !ok || !value.Equal(got, record) {
						t.Errorf("%s read %v, want the record", reader, read)
					}
				}
				w.killDaemon("sys/m1", time.Second)
				w.restartManager()
				time.Sleep(time.Minute)
				if w.failureOf("m1:bad", output) == nil {
					t.Errorf("%s is forgotten after a restart of the daemons", output)
				}
				w.runs(text) // and it succeeds
				if record := w.failureOf("m1:bad", output); record != nil {
					t.Errorf("m1:bad runs, and has %s %v", output, record)
				}
				w.down(false)
			})
		})
	}
}
