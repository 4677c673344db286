package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type document struct{ Word string }

// TestMain lets the test binary be the process that is started. It does what
// its argument says.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "keep-") {
		os.Exit(m.Run())
	}
	var doc document
	orders, err := Receive(&doc)
	if err != nil {
		os.Exit(2)
	}
	if err := orders.Await(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	switch os.Args[1] {
	case "keep-well":
		orders.Done(nil)
	case "keep-badly":
		orders.Done(errors.New("no " + doc.Word))
	case "keep-dying":
		os.Exit(4)
	}
	time.Sleep(time.Minute)
}

func begin(t *testing.T, what string) (*Starting, *os.File) {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	st, err := Start(document{"disk"}, binary, []string{what}, 0, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Process.End(context.Background(), unix.SIGKILL, endLimit); err != nil {
			t.Error(err)
		}
	})
	return st, log
}

func TestGoTellsHowItWent(t *testing.T) {
	tests := map[string]string{
		"keep-well":  "",
		"keep-badly": "no disk",
		"keep-dying": "ended before the machine was up",
	}
	for what, want := range tests {
		t.Run(what, func(t *testing.T) {
			st, _ := begin(t, what)
			if err := st.Go(t.Context()); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("went %v, want %q", err, want)
			}
		})
	}
}

func TestGoReturnsWhenItsContextEnds(t *testing.T) {
	st, _ := begin(t, "keep-silent")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := st.Go(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("went %v", err)
	}
}

func TestProcessThatIsNotToldToGoEndsByItself(t *testing.T) {
	st, log := begin(t, "keep-well")
	st.orders.Close() // as the kernel does for a managing daemon that was killed
	// The report closes with the process.
	if n, err := st.report.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("reported %d bytes, %v", n, err)
	}
	if b, err := os.ReadFile(log.Name()); err != nil || !strings.Contains(string(b), "in its books") {
		t.Errorf("it says %q, %v", b, err)
	}
}
