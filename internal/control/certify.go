package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api/peerpb"
	"aloft/internal/sdl/resolve"
	"aloft/value"
)

// certifies is the class of the components that have certificates, which take
// from their description what they may be certified as.
const certifies = "Certificate"

// Certify gives machine from a certificate for a Certificate component that it
// processes: for names that the component's description gives, or gave before
// the plan under way, and no others. What is another manager's to answer is
// passed on to it, once. A name that is not known yet is codes.Unavailable: it
// is to be asked again.
func (c *Control) Certify(ctx context.Context, from string, r *peerpb.CertifyRequest, passed bool) (*peerpb.CertifyReply, error) {
	s, err := c.owned(ctx, r.System)
	if elsewhere, is := errors.AsType[*Elsewhere](err); is && !passed {
		owner, err := c.cfg.Others(ctx, elsewhere.Manager)
		if err != nil {
			return nil, status.Errorf(codes.Unavailable, "manager %s: %v", elsewhere.Manager, err)
		}
		r.Machine = from
		return owner.Certify(ctx, r)
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	path := value.Path(r.Path)
	refused := status.Errorf(codes.PermissionDenied, "no %s component %s of system %s is processed there", certifies, path, r.System)
	if s == nil {
		return nil, refused
	}
	names, life, err := s.certified(ctx, from, path, c.cfg.Now())
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, refused
	}
	chain, err := c.cfg.Issue(ctx, r.CertificateRequest, names, life)
	if err != nil {
		return nil, err
	}
	return &peerpb.CertifyReply{Chain: chain}, nil
}

// certified returns what the Certificate component at path, if machine from
// processes it, may be certified as, and for how long.
func (s *system) certified(ctx context.Context, from string, path value.Path, now time.Time) (names []string, life time.Duration, err error) {
	s.mu.Lock()
	var described []*value.Component
	if k, held := s.held.Components[path]; held && k.Executor == from && k.Class == certifies {
		described = append(described, k.Attrs)
	}
	// What a plan changes is held as it was until that is done.
	if want, planned := s.wanted(path); planned && want.Executor == from && want.Class == certifies {
		described = append(described, want.Attrs.Component)
	}
	s.mu.Unlock()
	class, known := s.control.cfg.Classes.Class(certifies)
	if len(described) == 0 || !known {
		return nil, 0, nil
	}
	l := &latest{s: s, now: now}
	for _, attrs := range described {
		said := value.NewComponent(false)
		for _, name := range []string{"names", "days"} {
			v, given := attrs.Get(name)
			if !given {
				continue
			}
			if v, err = l.value(ctx, v, 0); err != nil {
				return nil, 0, fmt.Errorf("attribute %s of %s: %w", name, path, err)
			}
			said.Set(value.Attr{Name: name, Value: v})
		}
		v := class.Values(said)
		given := v.Texts("names")
		if len(given) > maxCertified {
			return nil, 0, status.Errorf(codes.FailedPrecondition, "%s: it has %d names, and may have %d", path, len(given), maxCertified)
		}
		names = append(names, given...)
		life = max(life, time.Duration(v.Int("days"))*24*time.Hour)
		if err := v.Err(); err != nil {
			return nil, 0, status.Errorf(codes.FailedPrecondition, "%s: %v", path, err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), life, nil
}

// Bounds of what the names of one certificate may lead to.
const (
	maxLate      = 100   // references that lead on to each other
	maxLateReads = 1_000 // references in all
	maxCertified = 100   // names, as the class has it
)

// latest finds out what values of a description are by now, their references
// followed through what this manager knows of the system.
type latest struct {
	s     *system
	now   time.Time
	reads int // so far
}

// value returns what v is. Of what machines have told, nothing leads on: they
// resolve what they tell, and one that does not would have this manager work for
// it without end.
func (l *latest) value(ctx context.Context, v value.Value, depth int) (value.Value, error) {
	switch {
	case ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case depth > maxLate:
		return nil, status.Errorf(codes.FailedPrecondition, "needs a chain of more than %d references", maxLate)
	}
	switch v := v.(type) {
	case value.Vector:
		out := make(value.Vector, len(v))
		for i, e := range v {
			var err error
			if out[i], err = l.value(ctx, e, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case *value.Reference:
		if v.Apply != nil {
			return resolve.Evaluate(ctx, v, l.now, func(ref *value.Reference) (value.Value, error) { return l.value(ctx, ref, depth+1) })
		}
		if v.Data {
			return v, nil
		}
		got, told, err := l.read(v)
		switch {
		case err != nil:
			return nil, err
		case !told:
			return l.value(ctx, got, depth+1)
		case leadsOn(got):
			return nil, status.Errorf(codes.FailedPrecondition, "%s: the machine that it is on tells of it with a reference, not with a value", value.RefText(v))
		}
		return got, nil
	default:
		return v, nil
	}
}

// read follows one reference. told: the value is by the word of a machine, not by
// the description.
func (l *latest) read(ref *value.Reference) (v value.Value, told bool, err error) {
	if l.reads++; l.reads > maxLateReads {
		return nil, false, status.Errorf(codes.FailedPrecondition, "needs more than %d references to be followed", maxLateReads)
	}
	request := &peerpb.ReadRequest{System: l.s.name, Cached: true}
	for _, p := range ref.Parts {
		if p.Kind != value.PartRoot {
			request.Names = append(request.Names, p.Name)
		}
	}
	l.s.mu.Lock()
	a := l.s.answer(request)
	l.s.mu.Unlock()
	switch {
	case a.err != nil && ref.Optional && ref.Default != nil:
		return ref.Default, false, nil
	case a.err != nil:
		return nil, false, a.err
	case a.reply.GetUnavailable() != "":
		return nil, false, status.Error(codes.Unavailable, a.reply.Unavailable)
	case a.reply == nil:
		return nil, false, status.Errorf(codes.Unavailable, "%s is not known yet", value.RefText(ref))
	}
	v, err = value.Decode(a.reply.Value)
	return v, a.told, err
}

// leadsOn reports whether a value is to be followed or computed, or has in it
// what is.
func leadsOn(v value.Value) bool {
	switch v := v.(type) {
	case value.Vector:
		return slices.ContainsFunc(v, leadsOn)
	case *value.Component:
		for a := range v.All() {
			if leadsOn(a.Value) {
				return true
			}
		}
	case *value.Reference:
		return !v.Data
	}
	return false
}
