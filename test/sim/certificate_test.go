package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/identity"
	"aloft/internal/peer"
	"aloft/value"
)

// certified is a system with a certificate on each of two machines.
const certified = `#include "aloft/components.sf"
sfConfig extends {
	web extends VM {
		cert extends Certificate { names [ "web.test", LAZY ATTRIB ip ]; }
		server extends Probe { reads LAZY cert:certFile; }
	}
	db extends VM {
		cert extends Certificate { names [ "db.test", LAZY name:greeting ]; }
		name extends Probe { greeting "late.test"; }
	}
}`

// A machine gets certificates of its own Certificate components alone, for the
// names that their description gives: not of another machine's, nor of a
// component of another class, nor of another system.
func TestAMachineIsCertifiedForItsOwnComponentsNamesAlone(t *testing.T) {
	scenario(t, options{seed: 1}, func(w *world) {
		w.runs(certified)
		v, _ := w.last("web:server", "start").Attrs.Get("reads")
		if file, _ := v.(value.String); !strings.HasSuffix(string(file), "cert.pem") {
			t.Errorf("who reads its file has %v", v)
		}
		address := w.machine("sys/web").resource.Address
		for _, try := range []struct {
			machine, system, path, name string
			code                        codes.Code
		}{
			{"web", "sys", "web:cert", "web.test", codes.OK},
			{"web", "sys", "web:cert", "WEB.test", codes.OK},
			{"web", "sys", "web:cert", address, codes.OK},
			{"web", "sys", "web:cert", "db.test", codes.PermissionDenied},
			{"web", "sys", "web:cert", "*.test", codes.PermissionDenied},
			{"web", "sys", "db:cert", "db.test", codes.PermissionDenied},
			{"web", "sys", "web:server", "web.test", codes.PermissionDenied},
			{"web", "sys", "web", "web.test", codes.PermissionDenied},
			{"web", "sys", "nobody", "web.test", codes.PermissionDenied},
			{"web", "other", "web:cert", "web.test", codes.PermissionDenied},
			{"db", "sys", "db:cert", "db.test", codes.OK},
			{"db", "sys", "db:cert", "late.test", codes.OK},
			{"db", "sys", "db:cert", address, codes.PermissionDenied},
			{"db", "sys", "web:cert", "web.test", codes.PermissionDenied},
		} {
			if err := w.certify("sys/"+try.machine, try.system, try.path, try.name); status.Code(err) != try.code {
				t.Errorf("%s asks for %s of %s: %v, want %s", try.machine, try.name, try.path, err, try.code)
			}
		}
		w.down(false)
	})
}

// certify asks for a certificate as the machine called SYSTEM/PATH could, by its
// identity.
func (w *world) certify(machine, system, path, name string) error {
	w.t.Helper()
	m := w.machine(machine)
	m.daemon.end()
	defer w.replaceDaemon(m, m.daemon, 0)
	who, err := identity.OpenMachine(filepath.Join(m.dir, "identity"), m.resource.Mark.Machine, "", w.clock(m.resource.Ref).now)
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	form := &x509.CertificateRequest{DNSNames: []string{name}}
	if ip := net.ParseIP(name); ip != nil {
		form = &x509.CertificateRequest{IPAddresses: []net.IP{ip}}
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, form, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.calling(&seat{name: m.resource.Address}, who, managerHost+":7400", func(ctx context.Context, s peer.Session) error {
		_, err := peerpb.NewOwnerClient(s).Certify(ctx, &peerpb.CertifyRequest{System: system, Path: path, CertificateRequest: request})
		return err
	})
}
