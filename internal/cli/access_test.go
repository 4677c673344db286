package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"aloft/client"
)

// credentials returns a key and a certificate of its own.
func credentials(f *testing.F) string {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// FuzzAccessFile: a file of credentials is one of a user of a cluster, and
// written the same, or the error names it.
func FuzzAccessFile(f *testing.F) {
	text, err := json.Marshal(client.Access{Name: "otto", Role: "viewer", Cluster: "c", Managers: []string{"192.0.2.1:7400"}, Identity: credentials(f)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"cluster":"c","managers":["a"],"identity":"-----BEGIN CERTIFICATE-----\n"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "otto.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := readAccess(path)
		if err != nil {
			if a != nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%+v, %v", a, err)
			}
			return
		}
		if a.Cluster == "" || len(a.Managers) == 0 || a.Expires().IsZero() {
			t.Fatalf("taken for credentials: %+v", a)
		}
		if err := writeAccess(path, a); err != nil {
			t.Fatal(err)
		}
		if again, err := readAccess(path); err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%+v became %+v, %v", a, again, err)
		}
	})
}

// FuzzOpened: a backup that is not encrypted is read as it is, and one that is
// gives what was sealed up to where it is damaged.
func FuzzOpened(f *testing.F) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key.String()+"\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	const content = "all of a home"
	var b bytes.Buffer
	w, err := age.Encrypt(&b, key.Recipient())
	if err != nil {
		f.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("plain"))
	f.Add([]byte("age-encryption.org/v1\n-> X25519 A\n"))
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := opened(bytes.NewReader(text), ""); err == nil {
			if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, text) {
				t.Errorf("%q was read as %q, %v", text, all, err)
			}
			return
		}
		r, err := opened(bytes.NewReader(text), file)
		if err != nil {
			return
		}
		if all, err := io.ReadAll(r); err == nil && string(all) != content {
			t.Errorf("opened as %q", all)
		}
	})
}
