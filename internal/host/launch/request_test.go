package launch

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"syscall"
	"testing"
)

// FuzzRequest: a request that a child reads is one that its maker can have
// sent, whole.
func FuzzRequest(f *testing.F) {
	for _, r := range []Request{
		{},
		{Path: "/bin/true", Args: []string{"true", "-x"}, Env: []string{"A=b"}, Dir: "/", Limits: map[int]uint64{7: 1024}, User: &syscall.Credential{Uid: 5, Gid: 6, Groups: []uint32{7}}},
	} {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		r, err := readRequest(bytes.NewReader(sent))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(r); err != nil {
			t.Fatal(err)
		}
		once := bytes.Clone(b.Bytes())
		again, err := readRequest(&b)
		if err != nil || !reflect.DeepEqual(normal(again), normal(r)) {
			t.Errorf("%+v became %+v, %v, by %q", r, again, err, once)
		}
	})
}

// normal makes empty what gob does not tell from nothing.
func normal(r Request) Request {
	if len(r.Args) == 0 {
		r.Args = nil
	}
	if len(r.Env) == 0 {
		r.Env = nil
	}
	if len(r.Limits) == 0 {
		r.Limits = nil
	}
	if r.User != nil && len(r.User.Groups) == 0 {
		u := *r.User
		u.Groups = nil
		r.User = &u
	}
	return r
}
