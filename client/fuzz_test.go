package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzHomeAccess: no client.json, and no identity beside it, makes the command
// line panic, and none without a root to trust is used.
func FuzzHomeAccess(f *testing.F) {
	f.Add(`{"name":"a","managers":["127.0.0.1:7400"],"identity":"who.pem"}`, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Add(`{"identity":"who.pem"}`, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
	f.Add(`{"identity":"../../client.json"}`, "")
	f.Add(`[]`, "")
	f.Fuzz(func(t *testing.T, text, pair string) {
		home := t.TempDir()
		for name, content := range map[string]string{homeFile: text, "who.pem": pair} {
			if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a, err := HomeAccess(home)
		if err != nil || a == nil {
			return
		}
		_ = a.Expires()
		if _, err := a.ForMachine("127.0.0.1:7400"); err == nil && !strings.Contains(a.Identity, "CERTIFICATE") {
			t.Errorf("used without a certificate: %q", a.Identity)
		}
	})
}

// FuzzProblem: no answer makes the reader panic, and what is taken for a
// refusal has a kind.
func FuzzProblem(f *testing.F) {
	f.Add(`{"type":"https://aloft.invalid/problems/stale","title":"stale","status":412,"detail":"d","remedy":"r"}`)
	f.Add(`{"type":"x","errors":[{"message":"m"}],"diagnostics":null}`)
	f.Add(`{"type":""}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, body string) {
		if e := problem(strings.NewReader(body)); e != nil && e.Kind == "" {
			t.Errorf("%q is taken for a refusal of no kind", body)
		}
	})
}
