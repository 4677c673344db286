package mediawiki

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"aloft/component"
	"aloft/value"
)

// kind is that of a server of pages that a wiki can be in.
type kind string

const (
	tomcat kind = "Tomcat"
	apache kind = "Apache"
)

// container is the server of pages that the wiki is in.
type container struct {
	kind kind
	home string
	uri  string // as http://address:port/
	log  string
}

// findContainer returns the container that the attributes name, or the nearest
// component around the wiki that has a uri.
func findContainer(ctx context.Context, c *component.Call, attrs *value.Component) (container, error) {
	if v, _ := attrs.Get("container"); v != nil && v.Kind() != value.KindNull {
		named, ok := v.(*value.Component)
		if !ok {
			return container{}, fmt.Errorf("attribute container: want a reference to a component, found a %s", v.Kind())
		}
		at, err := readContainer(named)
		if err != nil {
			return at, fmt.Errorf("attribute container: %w", err)
		}
		return at, nil
	}
	for names := c.Path.Names(); len(names) > 1; {
		names = names[:len(names)-1]
		ref := &value.Reference{Lazy: true, Parts: []value.Part{{Kind: value.PartRoot}}}
		for _, n := range names {
			ref.Parts = append(ref.Parts, value.Part{Kind: value.PartHere, Name: n})
		}
		v, err := c.Env.Read(ctx, ref)
		if err != nil {
			return container{}, fmt.Errorf("look for the server of pages around it: %w", err)
		}
		around, ok := v.(*value.Component)
		if !ok {
			continue
		}
		if uri, _ := around.Get("uri"); uri != nil {
			at, err := readContainer(around)
			if err != nil {
				return at, fmt.Errorf("%s, around it: %w", value.PathOf(names...), err)
			}
			return at, nil
		}
	}
	return container{}, &component.Failure{
		Err:    errors.New("there is no server of pages around it"),
		Remedy: "put it inside a Tomcat or an Apache, or name one with container",
	}
}

func readContainer(c *value.Component) (container, error) {
	text := func(name string) string {
		v, _ := c.Get(name)
		s, _ := v.(value.String)
		return string(s)
	}
	at := container{home: text("home"), uri: text("uri"), log: text("log")}
	word := text("sfClass")
	at.kind = kind(word[strings.LastIndexByte(word, '.')+1:])
	if at.kind != tomcat && at.kind != apache {
		return at, &component.Failure{Err: fmt.Errorf("%s cannot run a MediaWiki", at.kind), Remedy: "use an Apache or a Tomcat"}
	}
	if php, _ := c.Get("php"); at.kind == apache && php != value.Bool(true) {
		return at, &component.Failure{Err: errors.New("the Apache that it is to be in has no PHP"), Remedy: "say  php true;  there"}
	}
	if !strings.HasPrefix(at.home, "/") || !strings.HasPrefix(at.uri, "http://") {
		return at, errors.New("it does not say its home and its uri: it is not deployed")
	}
	return at, nil
}
