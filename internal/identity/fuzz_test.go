package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// FuzzKeyPair: a file of a key and certificates is read only if they belong
// together, and written the same; an error names the file.
func FuzzKeyPair(f *testing.F) {
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	root, err := newRoot(key, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	other, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range []keyPair{{key: key}, {key: key, chain: []*x509.Certificate{root}, other: []*x509.Certificate{root}}, {key: other, chain: []*x509.Certificate{root}}} {
		text, err := p.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add(encodeCerts([]*x509.Certificate{root}))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), identityFile)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := loadKeyPair(path)
		if err != nil {
			if p.key != nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, %v", p, err)
			}
			return
		}
		if len(p.chain) > 0 && !p.key.PublicKey.Equal(p.chain[0].PublicKey) {
			t.Error("key and certificate of two")
		}
		once, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeKeyPair(once)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.encode(); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}

// FuzzJoiningState: how far a join is can be read as it was written, or the
// error names the file.
func FuzzJoiningState(f *testing.F) {
	state, err := newJoining(uuid.NewString(), RoleManage, Pin{1})
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(state)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"identity":"AAAA","role":"king"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, joiningFile)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := readJoining(dir)
		if err != nil {
			if s != nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, %v", s, err)
			}
			return
		}
		if key, err := parseKey(s.Identity); (err == nil) != (key != nil) {
			t.Errorf("%v, %v", key, err)
		}
		once, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, once, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := readJoining(dir)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s became %s, %v", once, twice, err)
		}
	})
}

// FuzzMachineRecord: a record that cannot be read is an error, never that of a
// machine that nobody removed.
func FuzzMachineRecord(f *testing.F) {
	for _, r := range []machineRecord{{Keys: [][]byte{{1}, {2}}}, {Removed: true}, {}} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"removed":"yes"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decodeMachine("m", text)
		if err != nil {
			if r.Removed || r.Keys != nil || !strings.Contains(err.Error(), "machine m") {
				t.Errorf("%+v, %v", r, err)
			}
			return
		}
		once, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeMachine("m", once)
		if err != nil || again.Removed != r.Removed || len(again.Keys) != len(r.Keys) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}
