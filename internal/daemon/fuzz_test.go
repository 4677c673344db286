package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aloft/api"
	"aloft/api/peerpb"
	"aloft/internal/backup"
	"aloft/internal/identity"
	"aloft/internal/store"
	"aloft/provider"
)

// same fails unless v, written as JSON, is read as it was; what JSON cannot
// write, as a year of five digits, is not looked at.
func same[T any](t *testing.T, v T) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		return
	}
	var again T
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if twice, err := json.Marshal(again); err != nil || string(twice) != string(text) {
		t.Errorf("%s became %s, %v", text, twice, err)
	}
}

func seed(f *testing.F, rows ...any) {
	f.Helper()
	for _, row := range rows {
		text, err := json.Marshal(row)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{`null`, `{}`, `[]`, `{`, `{"use":"!","expires":1,"contacts":{}}`} {
		f.Add([]byte(text))
	}
}

// FuzzUserRow: a user's row gives one user, or an error that names the row.
func FuzzUserRow(f *testing.F) {
	seed(f, userRow{Role: api.RoleOperator, By: "a", Since: time.Unix(1, 0).UTC(), Expires: time.Unix(2, 0).UTC(), Series: "s"})
	f.Fuzz(func(t *testing.T, text []byte) {
		key := userKey("otto")
		row, err := decodeUser(store.Entry{Key: key, Value: text})
		if err != nil {
			if row != (userRow{}) || !strings.Contains(err.Error(), key) {
				t.Errorf("%+v, %v", row, err)
			}
			return
		}
		same(t, row)
	})
}

// FuzzTokenRow: a token whose row cannot be read admits nobody, and one is
// never spent twice for different uses.
func FuzzTokenRow(f *testing.F) {
	use := identity.TokenUse{1}
	seed(f, tokenRow{Machine: "m", Role: identity.RoleHost, Expires: time.Unix(1, 0).UTC()}, tokenRow{Expires: time.Unix(1, 0).UTC(), Use: use[:]})
	f.Fuzz(func(t *testing.T, text []byte) {
		kv := store.NewMemory()
		hash := identity.TokenHash{7}
		if _, err := kv.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: tokenKey(hash), Value: text}}}); err != nil {
			t.Fatal(err)
		}
		of := tokens{kv, time.Now}
		row, bad := decodeToken(store.Entry{Key: tokenKey(hash), Value: text})
		grant, err := of.Take(t.Context(), hash, use)
		switch {
		case bad != nil:
			if err == nil || grant != (identity.Grant{}) || !strings.Contains(err.Error(), tokenKey(hash)) {
				t.Errorf("%+v, %v", grant, err)
			}
			return
		case err != nil:
			return // spent on something else, or with a time that JSON cannot tell
		case grant.Machine != row.Machine || grant.Role != row.Role:
			t.Errorf("the row says %+v, the grant %+v", row, grant)
		}
		if got, err := of.Used(t.Context(), hash); err != nil || got != use {
			t.Errorf("spent on %v, %v", got, err)
		}
		if _, err := of.Take(t.Context(), hash, identity.TokenUse{2}); !errors.Is(err, identity.ErrTokenUsed) {
			t.Errorf("spent twice: %v", err)
		}
	})
}

// FuzzUserData: what a machine is told at its birth is read whole or refused.
func FuzzUserData(f *testing.F) {
	seed(f, userData{Machine: "m", Name: "shop/web", Hostname: "web", Token: "t", Contacts: []string{"a:1"}, Proxy: "http://a:2", Isolation: true})
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := decodeUserData(text)
		if err != nil {
			if !reflect.DeepEqual(u, userData{}) {
				t.Errorf("%+v, %v", u, err)
			}
			return
		}
		same(t, u)
	})
}

// FuzzContacts: whatever is kept, the addresses given are all among those that
// are used, and what is learned next is kept.
func FuzzContacts(f *testing.F) {
	seed(f, []string{"a:1", "b:2"})
	f.Fuzz(func(t *testing.T, text []byte) {
		book := contactBook{file: filepath.Join(t.TempDir(), "contacts.json"), log: slog.New(slog.DiscardHandler)}
		if err := os.WriteFile(book.file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		given := []string{"c:3", "a:1"}
		list := book.with(given)
		for _, address := range given {
			if !slices.Contains(list, address) {
				t.Errorf("%s is not in %q", address, list)
			}
		}
		if err := os.Remove(book.file); err != nil {
			t.Fatal(err)
		}
		if book.keep(list); !slices.Equal(book.with(nil), list) {
			t.Errorf("%q became %q", list, book.with(nil))
		}
	})
}

// FuzzClientFile: a home is a viewer's only if its file says so.
func FuzzClientFile(f *testing.F) {
	seed(f, clientSettings{Cluster: "c", Managers: []string{"a:1"}, Identity: "i", Role: "viewer"}, clientSettings{Identity: "i"})
	f.Fuzz(func(t *testing.T, text []byte) {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, clientFile), text, 0o600); err != nil {
			t.Fatal(err)
		}
		var c clientSettings
		err := json.Unmarshal(text, &c)
		if viewer := asViewer(home); viewer != (err == nil && c.Role == "viewer") {
			t.Errorf("%v for %q", viewer, text)
		}
		if err != nil {
			return
		}
		if err := c.write(home); err != nil {
			t.Fatal(err)
		}
		if asViewer(home) != (c.Role == "viewer") {
			t.Errorf("%+v is another's once written", c)
		}
	})
}

// FuzzSealedFile: a kept secret that cannot be opened is an error that names
// it, never another content.
func FuzzSealedFile(f *testing.F) {
	s := &sealed{dir: f.TempDir()}
	if err := s.keep("shop", "db/password", &peerpb.SecretReply{Version: 3, Content: []byte("hush")}); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(s.file("shop", "db/password"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	seed(f, sealedFile{Version: 9})
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(s.file("shop", "db/password"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, content, err := s.read("shop", "db/password")
		if err == nil && content != "hush" {
			t.Errorf("opened as %q", content)
		}
		if err != nil && !strings.Contains(err.Error(), "db/password") {
			t.Errorf("the error does not name the secret: %v", err)
		}
	})
}

// FuzzOffer: a host answers whatever call it is asked with, and a manager reads
// whatever a host answers.
func FuzzOffer(f *testing.F) {
	seed(f, provider.Call{}, []provider.Proposal{{Provider: "local", Host: "h"}})
	f.Fuzz(func(t *testing.T, text []byte) {
		reply, err := hosting{}.Offer(t.Context(), &peerpb.OfferRequest{Call: text})
		if err == nil {
			if list, err := offered(reply); err != nil || len(list) > 0 {
				t.Errorf("nobody offered %v, %v", list, err)
			}
		}
		list, err := offered(&peerpb.OfferReply{Proposals: text})
		if err != nil {
			return
		}
		same(t, list)
		if _, err := offered(&peerpb.OfferReply{Proposals: text, Error: "full"}); err == nil || err.Error() != "full" {
			t.Errorf("the host's error is lost: %v", err)
		}
	})
}

// FuzzBackupPart: a part of a backup that is not one is refused, and nothing
// is written outside of the folder that is filled.
func FuzzBackupPart(f *testing.F) {
	text, err := json.Marshal(about{Cluster: "c", Epoch: 2, Name: "a", Managers: []string{"a"}, Made: time.Unix(1, 0).UTC(), Build: "b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(partAbout, text)
	f.Add(partAbout, []byte(`{`))
	f.Add(partIdentity+"identity.pem", []byte("x"))
	f.Add(partIdentity+"../../x", []byte("x"))
	f.Add("rows/../../x", []byte("x"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if name == partRows || name == partJournal || strings.HasPrefix(name, partBlob) {
			return // targets of store, journal and blob
		}
		around := t.TempDir()
		u := &unpacking{dir: filepath.Join(around, "home")}
		for _, d := range []string{u.dir, filepath.Join(u.dir, "identity")} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		err := u.part(context.Background(), name, strings.NewReader(string(content)))
		if name == partAbout {
			if err != nil && !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("not taken for damage: %v", err)
			}
			if err == nil {
				same(t, u.of)
			}
		}
		entries, _ := os.ReadDir(around)
		if len(entries) != 1 {
			t.Errorf("%q was written beside the home", name)
		}
	})
}
