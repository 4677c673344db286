package componenttest

import (
	"fmt"
	"net"
	"testing"

	"aloft/value"
)

func TestFreePortIsNobodyElsesUntilTheTestHasEnded(t *testing.T) {
	seen := map[value.Integer]bool{}
	t.Run("held", func(t *testing.T) {
		for range 200 {
			port := FreePort(t)
			if seen[port] || port < firstPort || port >= firstPort+portCount {
				t.Fatalf("port %d is given again, or out of range", port)
			}
			seen[port] = true
			if l, err := net.Listen("unix", fmt.Sprintf("@aloft-test-port-%d", port)); err == nil {
				l.Close()
				t.Errorf("port %d may be taken by another test", port)
			}
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatalf("a server cannot have it: %v", err)
			}
			l.Close()
		}
	})
	for port := range seen {
		l, err := net.Listen("unix", fmt.Sprintf("@aloft-test-port-%d", port))
		if err != nil {
			t.Errorf("port %d is held after its test: %v", port, err)
			continue
		}
		l.Close()
	}
}
