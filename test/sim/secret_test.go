package sim

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/peer"
	"aloft/value"
)

// keyed is a system with a secret on one machine, one on every copy of another,
// and a third that reads the first by reference.
const keyed = `#include "aloft/components.sf"
sfConfig extends {
	db extends VM { store extends Probe { password extends DATA Secret { name "db/password"; } } }
	web extends VM { sfCopies 2; app extends Probe { key extends DATA Secret { name "app/key"; } } }
	reader extends VM { app extends Probe { login LAZY db:store:password; } }
}`

// A machine opens the secrets that its own components refer to, by themselves or
// through a reference, and no others: not even with its own certificate and the
// name of one.
func TestAMachineOpensTheSecretsOfItsOwnComponentsAlone(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		for name, content := range map[string]string{"db/password": "open sesame", "app/key": "the key of the app"} {
			if _, err := w.service().SetSecret(t.Context(), name, []byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		w.runs(keyed)
		for _, want := range []struct{ path, attr, content string }{
			{"db:store", "password", "open sesame"},
			{"web1:app", "key", "the key of the app"},
			{"web2:app", "key", "the key of the app"},
			{"reader:app", "login", "open sesame"},
		} {
			got, _ := w.last(value.Path(want.path), "start").Attrs.Get(want.attr)
			if got != value.String(want.content) {
				t.Errorf("%s has been given %v as %s", want.path, got, want.attr)
			}
		}
		for _, try := range []struct {
			machine, name string
			code          codes.Code
		}{
			{"db", "db/password", codes.OK},
			{"db", "app/key", codes.PermissionDenied},
			{"web2", "app/key", codes.OK},
			{"web2", "db/password", codes.PermissionDenied},
			{"reader", "db/password", codes.OK},
			{"reader", "app/key", codes.PermissionDenied},
			{"reader", "no/such", codes.PermissionDenied},
		} {
			if err := w.open("sys/"+try.machine, "sys", try.name); status.Code(err) != try.code {
				t.Errorf("%s opens %s: %v, want %s", try.machine, try.name, err, try.code)
			}
			if err := w.open("sys/"+try.machine, "other", try.name); status.Code(err) != codes.PermissionDenied {
				t.Errorf("%s opens %s of another system: %v", try.machine, try.name, err)
			}
		}
		w.down(false)
	})
}

// open asks for a secret as the machine called SYSTEM/PATH could, by its
// certificate.
func (w *world) open(machine, system, name string) error {
	w.t.Helper()
	m := w.machine(machine)
	m.daemon.end()
	defer w.replaceDaemon(m, m.daemon, 0)
	who, err := identity.OpenMachine(filepath.Join(m.dir, "identity"), m.resource.Mark.Machine, "", w.clock(m.resource.Ref).now)
	if err != nil {
		w.t.Fatal(err)
	}
	var reply *peerpb.SecretReply
	err = w.calling(&seat{name: m.resource.Address}, who, managerHost+":7400", func(ctx context.Context, s peer.Session) error {
		reply, err = peerpb.NewOwnerClient(s).Secret(ctx, &peerpb.SecretRequest{System: system, Name: name})
		return err
	})
	if err == nil && len(reply.Content) == 0 {
		err = errors.New("no content")
	}
	return err
}
