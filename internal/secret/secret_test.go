package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"filippo.io/age"
	"google.golang.org/protobuf/proto"

	"aloft/internal/secret/secretpb"
)

const password = "correct horse battery staple"

func newKeys(t testing.TB, n int) Keys {
	t.Helper()
	var k Keys
	for range n {
		one, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		k = append(k, one)
	}
	return k
}

func TestSealedValueOpensAgainAndShowsNothing(t *testing.T) {
	k := newKeys(t, 1)
	for _, plain := range []string{"", password, strings.Repeat("x", MaxValue)} {
		sealed, err := k.Seal("db/password", NewValue([]byte(plain)))
		if err != nil {
			t.Fatal(err)
		}
		if plain != "" && bytes.Contains(sealed, []byte(plain)) {
			t.Error("the sealed value shows the secret")
		}
		v, err := k.Open("db/password", sealed)
		if err != nil || string(v.Reveal()) != plain {
			t.Errorf("%d bytes came back as %d, %v", len(plain), len(v.Reveal()), err)
		}
	}
	if _, err := k.Seal("db/password", NewValue(make([]byte, MaxValue+1))); err == nil {
		t.Error("a secret over the limit was sealed")
	}
}

func TestSealedValueOpensWithTheRightKeyAndNameOnly(t *testing.T) {
	k := newKeys(t, 1)
	sealed, err := k.Seal("a", NewValue([]byte(password)))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() (Value, error){
		"another key":   func() (Value, error) { return newKeys(t, 2).Open("a", sealed) },
		"another name":  func() (Value, error) { return k.Open("b", sealed) },
		"a changed bit": func() (Value, error) { return k.Open("a", changed) },
		"no bytes":      func() (Value, error) { return k.Open("a", nil) },
	} {
		v, err := open()
		if !errors.Is(err, ErrUnreadable) || v.Reveal() != nil {
			t.Errorf("with %s: %q, %v", what, v.Reveal(), err)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("with %s the error shows the secret", what)
		}
	}
}

func TestValueIsBlankWhereverItIsPrinted(t *testing.T) {
	v := NewValue([]byte(password))
	in := struct{ V, v Value }{v, v} // fmt asks no method of a field that is not exported
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("set", "value", v, "in", in)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("set", "value", v, "in", in)
	shown := []string{string(text), log.String(), fmt.Errorf("%v %w", v, errors.New("x")).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		shown = append(shown, fmt.Sprintf(verb, v), fmt.Sprintf(verb, in), fmt.Sprintf(verb, &in), fmt.Sprintf(verb, []Value{v}))
	}
	for _, s := range shown {
		if strings.Contains(s, "correct") || strings.Contains(s, fmt.Sprintf("%x", "correct")) || strings.Contains(s, "99 111 114") {
			t.Errorf("%s shows the secret", s)
		}
	}
}

func TestAfterRotationRowsAreSealedAnewWithTheNewestKey(t *testing.T) {
	old := newKeys(t, 1)
	row := &secretpb.Secret{Name: "a"}
	if err := old.Put(row, NewValue([]byte(password))); err != nil {
		t.Fatal(err)
	}
	k := append(newKeys(t, 1), old...)
	if v, err := k.Get(row); err != nil || string(v.Reveal()) != password {
		t.Fatalf("before: %v", err)
	}
	changed, err := k.Refresh(row)
	if err != nil || !changed || row.Version != 1 {
		t.Fatalf("changed %v, version %d, %v", changed, row.Version, err)
	}
	if _, err := old.Get(row); !errors.Is(err, ErrUnreadable) {
		t.Errorf("the old key still opens it: %v", err)
	}
	if v, err := k[:1].Get(row); err != nil || string(v.Reveal()) != password {
		t.Errorf("the new key alone: %v", err)
	}
	if changed, err := k.Refresh(row); changed || err != nil {
		t.Errorf("again: %v, %v", changed, err)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKeys(f, 1)
	sealed, err := k.Seal("a", NewValue([]byte(password)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:len(sealed)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := k.Open("a", b); err == nil && string(v.Reveal()) != password {
			t.Errorf("opened as %q", v.Reveal())
		}
		var row secretpb.Secret
		if proto.Unmarshal(b, &row) == nil {
			_, _ = k.Refresh(&row)
		}
	})
}
