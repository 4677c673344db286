package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"aloft/internal/durable"
)

// nextIdentity is the folder in which the identity of a member comes about: of
// a home that joins, and of one whose role changes. It takes the place of the
// former one whole.
const (
	nextIdentity = "identity-next"
	oldIdentity  = "identity-old"
)

// joinedWith is the file, beside the identity of a member, with the digest of
// the token that it came about with. It tells a join that was cut after its
// identity was put in its place, where nothing else has that token's key.
const joinedWith = "joined-with"

// enrolledWith reports whether the identity in its place is that of a token.
func enrolledWith(home, token string) bool {
	text, err := os.ReadFile(filepath.Join(home, "identity", joinedWith))
	return err == nil && string(text) == digest(token)
}

// enrol makes the identity of the member in its place, wherever an earlier try
// was cut, and returns the settings that say so.
func (j joiner) enrol(ctx context.Context, build string) (settings, error) {
	is := j.is
	if is.Join.Enrolled {
		return is, os.RemoveAll(filepath.Join(j.dir, oldIdentity))
	}
	here, next, old := filepath.Join(j.dir, "identity"), filepath.Join(j.dir, nextIdentity), filepath.Join(j.dir, oldIdentity)
	if enrolledWith(j.dir, is.Join.Token) {
		return j.enrolled(is)
	}
	if present(here) || !present(filepath.Join(next, joinedWith)) { // else it was cut between the two renamings
		name, install, err := j.ask(ctx, next, build)
		if err == nil {
			err = install()
		}
		if err == nil {
			err = durable.WriteFile(filepath.Join(next, joinedWith), []byte(digest(is.Join.Token)))
		}
		if err != nil {
			return is, err
		}
		is.Name = name
		if err := os.RemoveAll(old); err != nil {
			return is, err
		}
		if err := os.Rename(here, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return is, err
		}
	}
	if err := os.Rename(next, here); err != nil {
		return is, err
	}
	return j.enrolled(is)
}

// enrolled writes down that the identity of the member is in its place.
func (j joiner) enrolled(is settings) (settings, error) {
	done := *is.Join
	done.Enrolled = true
	is.Join = &done
	if err := is.write(j.dir); err != nil {
		return is, err
	}
	return is, os.RemoveAll(filepath.Join(j.dir, oldIdentity))
}

func present(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
