package peer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
)

// Issuer issues certificates, all DER: a chain for the key in a certificate
// request, leaf first, and the roots to trust. An error that is final carries
// its gRPC status (PermissionDenied); any other means that asking again may
// help. Package identity's Manager is one.
type Issuer interface {
	// Enrol lets in the machine with this id, if the token is its.
	Enrol(ctx context.Context, token, machine string, request []byte) (chain, roots [][]byte, err error)
	// Renew gives the machine with this name (its URI) a fresh certificate.
	Renew(ctx context.Context, name string, request []byte) (chain, roots [][]byte, err error)
}

// enrolment answers the Enrolment service for an Issuer.
type enrolment struct {
	peerpb.UnimplementedEnrolmentServer
	issuer   Issuer
	contacts func() []string
}

// NewEnrolment makes the service that managers register: certificates come from
// issuer, and with each the contacts there are at the time, host:port in order
// of preference.
func NewEnrolment(issuer Issuer, contacts func() []string) peerpb.EnrolmentServer {
	return &enrolment{issuer: issuer, contacts: contacts}
}

func (e *enrolment) Enrol(ctx context.Context, req *peerpb.EnrolRequest) (*peerpb.Certificates, error) {
	return e.answer(e.issuer.Enrol(ctx, req.Token, req.Machine, req.CertificateRequest))
}

func (e *enrolment) Renew(ctx context.Context, req *peerpb.RenewRequest) (*peerpb.Certificates, error) {
	return e.answer(e.issuer.Renew(ctx, Caller(ctx).String(), req.CertificateRequest))
}

func (e *enrolment) answer(chain, roots [][]byte, err error) (*peerpb.Certificates, error) {
	if err != nil {
		if _, known := status.FromError(err); known {
			return nil, err
		}
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &peerpb.Certificates{Chain: chain, Roots: roots, Contacts: e.contacts()}, nil
}

// Credentials is an Identity that is obtained from a manager and renewed.
// Package identity's Machine is one.
type Credentials interface {
	Identity
	// Enrolled reports whether there is a certificate, expired or not.
	Enrolled() bool
	// RenewAt says when to renew it. Changed returns a channel that is closed when
	// it may say something else.
	RenewAt() time.Time
	Changed() <-chan struct{}
	// Request makes a certificate request, PKCS#10 in DER.
	Request() ([]byte, error)
	// Install takes up the answer to the last Request, durably.
	Install(chain, roots [][]byte) error
}

// Enrolment is what a machine enrols with and keeps its certificate by.
type Enrolment struct {
	Node        *Node
	Credentials Credentials // the node's Identity
	Machine     string      // machine id
	Token       string      // unused once enrolled

	// Contacts, if given, is told the managers' addresses with every certificate.
	Contacts func(addresses []string)
}

// Run enrols the machine over whatever session with a manager comes about, and
// renews its certificate from then on, until ctx ends. It ends earlier, with an
// error of code PermissionDenied, when a manager refuses for good: the token is
// not good, or the machine is a member no more.
func (e *Enrolment) Run(ctx context.Context) error {
	for {
		e.untilDue(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := e.obtain(ctx); err != nil {
			return err
		}
		if !e.Node.cfg.Now().Before(e.Credentials.RenewAt()) {
			e.Node.cfg.Log.Warn("the certificate just given is to be renewed already: is this machine's clock right?")
			pause(ctx, lastRetry) // a wrong clock makes no storm of renewals
		}
	}
}

// untilDue waits until there is a certificate to ask for, or ctx ends.
func (e *Enrolment) untilDue(ctx context.Context) {
	for e.Credentials.Enrolled() {
		changed := e.Credentials.Changed()
		wait := e.Credentials.RenewAt().Sub(e.Node.cfg.Now())
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-e.Node.clockSet():
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// obtain asks until it has a certificate. A renewed one that cannot be taken up
// is asked for again: the manager that signed it may have been removed meanwhile,
// or the disk be full.
func (e *Enrolment) obtain(ctx context.Context) error {
	renews := e.Credentials.Enrolled()
	for failures := 1; ; failures++ {
		certs, err := e.ask(ctx)
		final := status.Code(err) == codes.PermissionDenied
		if err == nil {
			err = e.install(certs)
			final = !renews
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case final:
			return fmt.Errorf("machine %s: %w", e.Machine, err)
		}
		missing := "no certificate yet"
		if renews {
			missing = "the certificate is not renewed yet"
		}
		e.Node.cfg.Log.Info(missing, "error", err)
		pause(ctx, backoff(failures))
	}
}

func (e *Enrolment) ask(ctx context.Context) (*peerpb.Certificates, error) {
	request, err := e.Credentials.Request()
	if err != nil {
		return nil, err
	}
	s, err := e.Node.anyManager(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	client := peerpb.NewEnrolmentClient(s)
	if e.Credentials.Enrolled() {
		return client.Renew(ctx, &peerpb.RenewRequest{CertificateRequest: request})
	}
	return client.Enrol(ctx, &peerpb.EnrolRequest{
		Token: e.Token, CertificateRequest: request, Machine: e.Machine, Versions: e.Node.versions(),
	})
}

func (e *Enrolment) install(certs *peerpb.Certificates) error {
	good := e.good()
	if err := e.Credentials.Install(certs.Chain, certs.Roots); err != nil {
		return err
	}
	if e.Contacts != nil {
		e.Contacts(certs.Contacts)
	}
	e.Node.dropLowly(good)
	return nil
}

// good reports whether the other ends have no reason to refuse the certificate
// that there is: it has not expired, nor was whoever signed it removed.
func (e *Enrolment) good() bool {
	if !e.Credentials.Enrolled() {
		return false
	}
	var chain []*x509.Certificate
	for _, der := range e.Credentials.Certificate().Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return false
		}
		chain = append(chain, c)
	}
	_, expires, err := e.Credentials.Verify(chain)
	return err == nil && e.Node.cfg.Now().Before(expires)
}

// AnyManager returns a session with a manager as soon as there is one.
func (n *Node) AnyManager(ctx context.Context) (Session, error) {
	s, err := n.anyManager(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// anyManager returns a session with a manager as soon as there is one, be this
// node enrolled or not.
func (n *Node) anyManager(ctx context.Context) (*session, error) {
	v, stop := n.view("")
	defer stop()
	for {
		v.take()
		n.mu.Lock()
		closed := n.closed
		var found *session
		for l, s := range n.links {
			if l.remote.Kind == Manager && s.current() == l && (found == nil || l.fresh()) {
				found = s
			}
		}
		n.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case found != nil:
			return found, nil
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return nil, errors.Join(errors.New("no session with a manager"), ctx.Err())
		}
	}
}

// dropLowly closes the links on which this node is not known as a member in
// good standing, so that they are made anew now that it is one: all of them, if
// the certificate it had was not good.
func (n *Node) dropLowly(good bool) {
	n.mu.Lock()
	var lowly []*link
	for l := range n.links {
		if !l.self && !(good && l.fresh()) {
			lowly = append(lowly, l)
		}
	}
	n.mu.Unlock()
	for _, l := range lowly {
		l.close()
	}
}
