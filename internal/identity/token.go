package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Token lets one machine, or one member with a role, join, once. It proves the
// joiner to the cluster (the secret) and the cluster to the joiner (the pin of
// the cluster's root key).
type Token struct {
	Secret [32]byte
	Pin    Pin
}

const tokenPrefix = "aloft1"

// tokenText is strict, so that a token has one printed form.
var tokenText = base64.RawURLEncoding.Strict()

// String prints the token: aloft1.SECRET.PIN. Whoever reads it can join in its
// machine's place until it is used or expires, so it belongs in user data and
// in no log.
func (t Token) String() string {
	return tokenPrefix + "." + tokenText.EncodeToString(t.Secret[:]) + "." + tokenText.EncodeToString(t.Pin[:])
}

// ParseToken reads a printed token. Errors do not repeat it.
func ParseToken(s string) (Token, error) {
	var t Token
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != tokenPrefix {
		return Token{}, fmt.Errorf("join token: want %s.SECRET.PIN", tokenPrefix)
	}
	for i, to := range [][]byte{t.Secret[:], t.Pin[:]} {
		// The decoder skips line ends, which would give a token a second form.
		if strings.ContainsAny(parts[i+1], "\r\n") || len(parts[i+1]) != tokenText.EncodedLen(len(to)) {
			return Token{}, fmt.Errorf("join token: part %d is not %d bytes in base64url", i+2, len(to))
		}
		if _, err := tokenText.Decode(to, []byte(parts[i+1])); err != nil {
			return Token{}, fmt.Errorf("join token: part %d is not base64url", i+2)
		}
	}
	return t, nil
}

// TokenHash is all that is kept of a token: a digest of its secret together with
// the machine it is for, so that a wrong machine finds nothing and spends
// nothing. A token for a role names no machine.
type TokenHash [sha256.Size]byte

func (t Token) hash(machine string, role MemberRole) TokenHash {
	if role != "" {
		machine = "role " + string(role)
	}
	return sha256.Sum256(fmt.Appendf(nil, "aloft join token\x00%s\x00%s", machine, t.Secret[:]))
}

// Grant is what a token is good for.
type Grant struct {
	Machine string     // machine id (UUID); "" for a member with Role
	Host    string     // UUID of the daemon that makes Machine
	Role    MemberRole // "" for Machine
	Expires time.Time
}

// MemberRole is what somebody joins a cluster as.
type MemberRole string

// The roles of members. Who joins to manage may host as well.
const (
	RoleManage MemberRole = "manage" // gets the keys of the cluster
	RoleHost   MemberRole = "host"   // is a machine by name, and a member
)

// TokenMemory is for how long a token should be remembered that has expired, so
// that who uses it is told so.
const TokenMemory = time.Hour

// TokenUse identifies the one use of a token: a digest of the key it was used with.
type TokenUse [sha256.Size]byte

// Tokens remembers tokens that were minted. Package store implements it durably.
type Tokens interface {
	// Put records an unused token. It may be forgotten a while after the grant
	// expired; until then Take returns it, and its expiry is the caller's to see.
	Put(ctx context.Context, hash TokenHash, grant Grant) error
	// Take spends a token on use and returns its grant. The first use is recorded
	// atomically before Take returns. The same use again returns the same grant,
	// since the answer to the first may have been lost; any other use returns
	// ErrTokenUsed, and a hash that was never put, or is forgotten, ErrTokenUnknown.
	Take(ctx context.Context, hash TokenHash, use TokenUse) (Grant, error)
	// Used returns the use that a token was spent on, the zero TokenUse of one
	// that was not, or is not known.
	Used(ctx context.Context, hash TokenHash) (TokenUse, error)
}

// What Take says about tokens it does not accept.
var (
	ErrTokenUnknown error = &Refusal{Reason: "join token is unknown here: it is for another machine or another role, or expired long ago"}
	ErrTokenUsed    error = &Refusal{Reason: "join token was used before, with another key"}
)

// MemoryTokens keeps tokens in memory. The zero value is ready to use.
type MemoryTokens struct {
	mu sync.Mutex
	// guarded by mu
	rows map[TokenHash]*tokenRow
}

type tokenRow struct {
	grant Grant
	use   TokenUse // zero: unused
}

// Put implements Tokens.
func (m *MemoryTokens) Put(_ context.Context, hash TokenHash, grant Grant) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		m.rows = map[TokenHash]*tokenRow{}
	}
	for h, row := range m.rows {
		if time.Now().After(row.grant.Expires.Add(TokenMemory)) {
			delete(m.rows, h)
		}
	}
	m.rows[hash] = &tokenRow{grant: grant}
	return nil
}

// Take implements Tokens.
func (m *MemoryTokens) Take(_ context.Context, hash TokenHash, use TokenUse) (Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row := m.rows[hash]
	switch {
	case row == nil:
		return Grant{}, ErrTokenUnknown
	case row.use == TokenUse{}:
		row.use = use
	case row.use != use:
		return Grant{}, ErrTokenUsed
	}
	return row.grant, nil
}

// Used implements Tokens.
func (m *MemoryTokens) Used(_ context.Context, hash TokenHash) (TokenUse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if row := m.rows[hash]; row != nil {
		return row.use, nil
	}
	return TokenUse{}, nil
}

func newToken(pin Pin) Token {
	t := Token{Pin: pin}
	rand.Read(t.Secret[:]) // never fails: it ends the program rather
	return t
}
