// Package secret seals the values of secrets, so that what is at rest is of no
// use to whoever copies it: rows of the store, their backups, disks.
//
// It knows neither where rows are nor who may read them, and it never prints a
// value: neither an error nor a Value put into a text by mistake shows one. The
// keys come from whoever keeps the cluster's keys.
package secret

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"sync"

	"filippo.io/age"

	"aloft/internal/secret/secretpb"
)

// MaxValue bounds a secret, in bytes: keys, certificates and passwords fit, and
// its row stays below the store's limit.
const MaxValue = 64 << 10

var nameForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,126}[a-z0-9])?$`) })

// CheckName refuses what is no name of a secret.
func CheckName(name string) error {
	if !nameForm().MatchString(name) {
		return fmt.Errorf("name of a secret %.130q: want a-z, 0-9, and inside it dot, underscore, slash, hyphen, at most 128", name)
	}
	return nil
}

// Value is a secret in the clear. Only Reveal gives it away: printed, logged or
// put into JSON it is blank.
type Value struct {
	// A function, since fmt asks no method of a field that is not exported, and of
	// a function it can print no more than where it is.
	reveal func() []byte
}

// NewValue makes a value, which keeps plain.
func NewValue(plain []byte) Value { return Value{func() []byte { return plain }} }

// Reveal returns what is secret, for where it is used; nil of the zero Value.
func (v Value) Reveal() []byte {
	if v.reveal == nil {
		return nil
	}
	return v.reveal()
}

const blank = "(secret)"

// String is blank.
func (Value) String() string { return blank }

// GoString is blank.
func (Value) GoString() string { return blank }

// Format is blank for every verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, blank) }

// MarshalText is blank, and with it JSON.
func (Value) MarshalText() ([]byte, error) { return []byte(blank), nil }

// LogValue is blank.
func (Value) LogValue() slog.Value { return slog.StringValue(blank) }

// ErrUnreadable says that none of the keys opens a sealed value, or that it was
// sealed under another name or changed.
var ErrUnreadable = errors.New("sealed value cannot be opened")

// Keys seal and open values: with the newest, which comes first, and with any.
type Keys []*age.X25519Identity

// Seal encrypts the value of the secret called name with the newest key. The
// name is bound to it: the sealed value opens under no other.
func (k Keys) Seal(name string, v Value) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	plain := v.Reveal()
	switch {
	case len(k) == 0:
		return nil, errors.New("seal a secret: there is no key")
	case len(plain) > MaxValue:
		return nil, fmt.Errorf("secret %s has %d bytes: at most %d", name, len(plain), MaxValue)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, k[0].Recipient())
	if err != nil {
		return nil, fmt.Errorf("seal secret %s: %w", name, err)
	}
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(name))), name...)
	if _, err = w.Write(append(frame, plain...)); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("seal secret %s: %w", name, err)
	}
	return sealed.Bytes(), nil
}

// Open decrypts what Seal made of the secret called name, or returns
// ErrUnreadable.
func (k Keys) Open(name string, sealed []byte) (Value, error) {
	if len(sealed) > 2*MaxValue {
		return Value{}, fmt.Errorf("secret %s: %d bytes: %w", name, len(sealed), ErrUnreadable)
	}
	for _, key := range k {
		r, err := age.Decrypt(bytes.NewReader(sealed), key)
		if err != nil {
			continue
		}
		plain, err := io.ReadAll(r)
		if err != nil || len(plain) < 2 {
			break
		}
		n := int(binary.BigEndian.Uint16(plain))
		if len(plain) < 2+n || string(plain[2:2+n]) != name {
			break
		}
		return NewValue(plain[2+n:]), nil
	}
	return Value{}, fmt.Errorf("secret %s: %w", name, ErrUnreadable)
}

// Put gives a row another value, and raises its version.
func (k Keys) Put(row *secretpb.Secret, v Value) error {
	sealed, err := k.Seal(row.Name, v)
	if err != nil {
		return err
	}
	row.Sealed, row.Key = sealed, k[0].Recipient().String()
	row.Version++
	return nil
}

// Get opens the value of a row.
func (k Keys) Get(row *secretpb.Secret) (Value, error) { return k.Open(row.Name, row.Sealed) }

// Refresh seals a row's value with the newest key, and reports whether it was
// sealed with another. The version stays, as the value does.
func (k Keys) Refresh(row *secretpb.Secret) (changed bool, err error) {
	if len(k) > 0 && row.Key == k[0].Recipient().String() {
		return false, nil
	}
	v, err := k.Get(row)
	if err != nil {
		return false, err
	}
	if err := k.Put(row, v); err != nil {
		return false, err
	}
	row.Version--
	return true, nil
}
