package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"aloft/internal/plan"
	"aloft/value"
)

// Secrets has the contents of the secrets that components of this machine
// refer to.
type Secrets interface {
	// Open returns the content of a system's secret at its version.
	Open(ctx context.Context, system string, s value.Secret) (string, error)
	// Forget removes what is kept here of a system's secrets.
	Forget(system string) error
}

// opened returns attributes as a manager is to see them, with the contents of
// secrets: nobody else does. Whoever ends or looks at a component can do without
// one that cannot be had.
func (t *tenant) opened(ctx context.Context, attrs *value.Component, action plan.Action) (*value.Component, error) {
	if attrs == nil {
		return nil, nil
	}
	v, err := value.ReplaceSecrets(attrs, func(s value.Secret) (value.Value, error) {
		content, err := t.agent.secret(ctx, t.system, s)
		switch {
		case err == nil:
			return value.String(content), nil
		case action == plan.Terminate || action == ping:
			return value.Null{}, nil
		}
		return nil, fmt.Errorf("secret %s: %w", s.Name, err)
	})
	if err != nil {
		return nil, err
	}
	return v.(*value.Component), nil
}

// ping stands for looking at a component, which is no step of a plan.
const ping plan.Action = "ping"

// secret returns the content of a secret, and remembers it as one that no
// record of this daemon may hold.
func (a *Agent) secret(ctx context.Context, system string, s value.Secret) (string, error) {
	if a.cfg.Secrets == nil {
		return "", fmt.Errorf("this daemon (%s) has no secrets", a.cfg.Build)
	}
	content, err := a.cfg.Secrets.Open(ctx, system, s)
	if err == nil {
		a.shown.add(content, s.Name)
	}
	return content, err
}

// blanks are the contents of secrets that managers were shown, and may put
// into what they say.
type blanks struct {
	mu sync.Mutex
	// guarded by mu
	names map[string]string // by content
	blank *strings.Replacer // nil: names has changed
}

// shortest is the length below which a content is not looked for: blanking a
// word of everyday would make texts unreadable, and tell what it was.
const shortest = 6

func (c *blanks) add(content, name string) {
	if len(content) < shortest {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[content] == name {
		return
	}
	if c.names == nil {
		c.names = map[string]string{}
	}
	c.names[content], c.blank = name, nil
}

// hide returns text without contents of secrets.
func (c *blanks) hide(text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.names) == 0 {
		return text
	}
	if c.blank == nil {
		var pairs []string
		for content, name := range c.names {
			pairs = append(pairs, content, "(secret "+name+")")
		}
		c.blank = strings.NewReplacer(pairs...)
	}
	return c.blank.Replace(text)
}

// hideIn returns v without contents of secrets in its texts.
func (c *blanks) hideIn(v value.Value) value.Value {
	switch v := v.(type) {
	case value.String:
		return value.String(c.hide(string(v)))
	case value.Vector:
		out := make(value.Vector, len(v))
		for i, x := range v {
			out[i] = c.hideIn(x)
		}
		return out
	case *value.Component:
		out := value.NewComponent(v.Data)
		for a := range v.All() {
			a.Value = c.hideIn(a.Value)
			out.Set(a)
		}
		return out
	}
	return v
}
