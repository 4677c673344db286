package host

import (
	"strings"
	"testing"
)

// Keys come from whoever published them.
func FuzzSourceKey(f *testing.F) {
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nmDMEZgAAABYJKwYBBAHaRw8BAQdA\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n")
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----")
	f.Fuzz(func(t *testing.T, text string) {
		if checkKey(text) != nil {
			return
		}
		if err := checkKey("about it\n" + text + "\n"); err != nil && !strings.Contains(text, "\r") {
			t.Errorf("with a line before it: %v", err)
		}
		if cut, _, _ := strings.Cut(text, "-----END"); checkKey(cut) == nil {
			t.Error("it is taken without its end")
		}
	})
}
