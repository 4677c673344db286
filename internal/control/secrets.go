package control

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"aloft/api"
	"aloft/internal/secret"
	"aloft/value"
)

// Secrets knows the secrets of the installation by name. Contents do not pass
// here.
type Secrets interface {
	// Versions returns the versions of those there are.
	Versions(ctx context.Context) (map[string]int64, error)
	// Make makes up the contents of those that there are not yet.
	Make(ctx context.Context, names []string) error
}

// secretsIn returns the names of the secrets in v, sorted.
func secretsIn(v value.Value) []string {
	var names []string
	_, _ = value.ReplaceSecrets(v, func(s value.Secret) (value.Value, error) {
		names = append(names, s.Name)
		return s.Value(), nil
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// versioned returns a description with the versions that its secrets have, or
// will have once their contents are made up: those are missing.
func (c *Control) versioned(ctx context.Context, root *value.Component) (_ *value.Component, missing []string, err error) {
	names := secretsIn(root)
	if len(names) == 0 {
		return root, nil, nil
	}
	for _, name := range names {
		if err := secret.CheckName(name); err != nil {
			return nil, nil, &api.Error{Kind: api.KindInvalid, Message: err.Error()}
		}
	}
	versions, err := c.cfg.Secrets.Versions(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if versions[name] == 0 {
			missing, versions[name] = append(missing, name), 1
		}
	}
	v, err := value.ReplaceSecrets(root, func(s value.Secret) (value.Value, error) {
		s.Version = versions[s.Name]
		return s.Value(), nil
	})
	return v.(*value.Component), missing, err
}

// MayOpen returns nil if a component of system that machine from processes
// refers to the secret called name, or to what has it of another component: who
// does not need a content does not get it.
func (c *Control) MayOpen(ctx context.Context, from, system, name string) error {
	refused := status.Errorf(codes.PermissionDenied, "no component of system %s there refers to secret %s", system, name)
	p, err := c.whole(ctx, system)
	if err != nil {
		return refused
	}
	held := described{}
	for path, k := range p.held.Components {
		if k.Attrs != nil {
			held[path] = k.Attrs
		}
	}
	for path, k := range p.held.Components {
		if k.Executor == from && held.sees(path, name) {
			return nil
		}
	}
	// What a plan changes is held as it was until that is done.
	newest, err := c.known.plan(ctx, p.head.PlanBlob)
	if err != nil {
		return status.Errorf(codes.Unavailable, "plan of system %s: %v", system, err)
	}
	planned := described{}
	for _, k := range newest.Components {
		planned[k.Path] = k.Attrs.Component
	}
	for _, k := range newest.Components {
		if k.Executor == from && planned.sees(k.Path, name) {
			return nil
		}
	}
	return refused
}

// described are the attributes of a system's components, as its description
// gives them.
type described map[value.Path]*value.Component

// sees reports whether the component at path gets to see the secret called
// name: its own, or one that it reads from another component.
func (d described) sees(path value.Path, name string) bool {
	if d[path] == nil {
		return false
	}
	return d.in(d[path], name, map[string]bool{})
}

// in reports whether the secret is in v, or in what references in v lead to.
func (d described) in(v value.Value, name string, seen map[string]bool) bool {
	switch v := v.(type) {
	case *value.Reference:
		if v.Apply != nil {
			return d.in(v.Apply, name, seen)
		}
		text := value.RefText(v)
		if !v.Lazy || v.Data || seen[text] {
			return false
		}
		seen[text] = true
		target := d.target(v)
		return target != nil && d.in(target, name, seen)
	case value.Vector:
		return slices.ContainsFunc(v, func(e value.Value) bool { return d.in(e, name, seen) })
	case *value.Component:
		if slices.Contains(secretsIn(v), name) {
			return true
		}
		for a := range v.All() {
			if d.in(a.Value, name, seen) {
				return true
			}
		}
	}
	return false
}

// target returns what a reference leads to in the description: a component, or
// what is in one; nil for what is only known at run time.
func (d described) target(ref *value.Reference) value.Value {
	var names []string
	for _, p := range ref.Parts {
		if p.Kind != value.PartRoot {
			names = append(names, p.Name)
		}
	}
	for n := len(names); n >= 0; n-- {
		c := d[value.PathOf(names[:n]...)]
		if c == nil {
			continue
		}
		var v value.Value = c
		for _, name := range names[n:] {
			in, ok := v.(*value.Component)
			if !ok {
				return v // a reference that leads on, or nothing
			}
			if v, ok = in.Get(name); !ok {
				return nil
			}
		}
		return v
	}
	return nil
}

// SecretUsers returns the systems that refer to each secret, by name.
func (c *Control) SecretUsers(ctx context.Context) (map[string][]string, error) {
	all, err := c.pictures(ctx)
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, p := range all {
		var names []string
		for _, k := range p.held.Components {
			if k.Attrs != nil {
				names = append(names, secretsIn(k.Attrs)...)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			users[name] = append(users[name], p.held.Name)
		}
	}
	return users, nil
}

// noted says of which secrets the contents will be made up.
func noted(missing []string) []string {
	notes := make([]string, len(missing))
	for i, name := range missing {
		notes[i] = fmt.Sprintf("secret %s does not exist yet: its content is made up when the plan is accepted", name)
	}
	return notes
}
