package peer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"aloft/api/peerpb"
)

func dialTCP(address string) (net.Conn, error) { return net.Dial("tcp", address) }

// TestOnePortServesSessionsAndHTTP with and without a client certificate.
func TestOnePortServesSessionsAndHTTP(t *testing.T) {
	w := &world{t: t}
	boss, m := w.pair()
	ln := boss.node.HTTP(&tls.Config{
		ClientAuth: tls.RequestClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return nil
			}
			if _, _, err := boss.identity.Verify(state.PeerCertificates); err != nil {
				return errors.New("not one of us")
			}
			return nil
		},
	})
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].URIs[0].String()
		}
		fmt.Fprintf(out, "%s %s", r.Proto, who)
	})}
	background(t, func(context.Context) error { return server.Serve(ln) })
	t.Cleanup(func() { server.Close() })

	get := func(h2 bool, certs ...tls.Certificate) (string, error) {
		transport := &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, Certificates: certs,
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
				leaf, err := x509.ParseCertificate(raw[0])
				if err == nil && leaf.URIs[0].String() != boss.node.Name().String() {
					err = fmt.Errorf("served by %v", leaf.URIs)
				}
				return err
			},
		}}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Get("https://" + boss.address)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	if got, err := get(true); got != "HTTP/2.0 nobody" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := get(false); got != "HTTP/1.1 nobody" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := get(true, *m.identity.Certificate()); got != "HTTP/2.0 "+m.node.Name().String() || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	foreign := w.manager()
	if _, err := get(true, *foreign.identity.Certificate()); err == nil {
		t.Error("a certificate of another cluster was let in")
	}
	if conn, err := tls.Dial("tcp", boss.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		conn.Close()
		t.Error("TLS 1.2 was accepted")
	}
	if conn, err := tls.Dial("tcp", boss.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"other"}}); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		if err == nil {
			conn.Close()
		}
		t.Errorf("another protocol: %v", err)
	}

	s, err := m.node.Dial(t.Context(), boss.address) // beside it
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peerpb.NewOwnerClient(s).Report(t.Context(), &peerpb.ReportRequest{}); err != nil {
		t.Error(err)
	}
}
