package cli

import (
	"slices"
	"strings"

	"aloft/internal/sdl/diag"
)

// descriptor is an action descriptor of SmartFrog,
// NAME:ACTION:DESCRIPTION:SUBREF:HOST:PROCESS.
type descriptor struct {
	name        string // of the system
	action      string
	description string // a file
	subref      string // a component within the system
	host        string
	process     string
}

// form is how a descriptor is written.
const form = "NAME:ACTION:DESCRIPTION:SUBREF:HOST:PROCESS"

// fields are the names of a descriptor's fields, in order.
var fields = strings.Split(form, ":")

// parseDescriptor reads a descriptor. A field that has colons in it stands
// between two double or two single quotes, which have no other of their kind
// between them; there are no escapes.
func parseDescriptor(s string) (descriptor, error) {
	var found []string
	for rest, more := s, true; more; {
		var field string
		if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
			quote := rest[:1]
			var closed bool
			if field, rest, closed = strings.Cut(rest[1:], quote); !closed {
				return descriptor{}, fail("close it with "+quote, "action descriptor %s: the quote before %s has no end", s, field)
			}
			if rest != "" && rest[0] != ':' {
				return descriptor{}, fail("quote the whole field, from colon to colon", "action descriptor %s: after %s%s%s comes %s, not a colon", s, quote, field, quote, rest)
			}
			if more = rest != ""; more {
				rest = rest[1:]
			}
		} else {
			field, rest, more = strings.Cut(rest, ":")
		}
		found = append(found, field)
	}
	if len(found) != len(fields) {
		return descriptor{}, fail("write "+form+"; fields may be empty, and stand in quotes if they have colons in them", "action descriptor %s has %s, not %d", s, count(len(found), "field"), len(fields))
	}
	return descriptor{found[0], found[1], found[2], found[3], found[4], found[5]}, nil
}

// The fields that say what an action is done to.
const (
	useName        = "NAME"
	useDescription = "DESCRIPTION"
	useSubref      = "SUBREF"
)

// descriptorActions are the actions, with the command of aloft that each is.
var descriptorActions = []struct {
	action  string
	command string   // "": there is none
	options []string // of the command
	needs   []string // fields that it cannot do without
	takes   []string // fields that it also takes
	refused string   // why there is no command
	remedy  string
}{
	{action: "DEPLOY", command: "up", needs: []string{useDescription}, takes: []string{useName}},
	{action: "DEPLOYWAIT", command: "up", needs: []string{useDescription}, takes: []string{useName}},
	{action: "UPDATE", command: "up", needs: []string{useDescription}, takes: []string{useName}},
	{action: "TERMINATE", command: "down", needs: []string{useName}, takes: []string{useSubref}},
	{action: "PING", command: "ping", needs: []string{useName}, takes: []string{useSubref}},
	{action: "LIST", command: "status", needs: []string{useName}, takes: []string{useSubref}},
	{action: "DUMP", command: "dump", needs: []string{useName}, takes: []string{useSubref}},
	{action: "DIAGNOSTICS", command: "doctor"},
	{action: "PARSE", command: "parse", needs: []string{useDescription}},
	{action: "LOAD", refused: "aloft loads nothing from remote code bases", remedy: "a component of your own is a folder of executables: 'aloft component new' makes one"},
	{action: "DETACH", command: "detach", needs: []string{useName, useSubref}},
	{action: "DETaTERM", command: "detach", options: []string{"--down"}, needs: []string{useName, useSubref}},
}

// translate returns the command of aloft that a descriptor stands for, with its
// options and arguments apart, and what is to be said of fields that it does not
// use.
func translate(d descriptor) (command string, options, args, notes []string, err error) {
	var names []string
	for _, known := range descriptorActions {
		names = append(names, known.action)
	}
	i := slices.Index(names, d.action)
	if i < 0 {
		remedy := "one of " + strings.Join(names, ", ")
		if near := diag.Nearest(d.action, names); len(near) > 0 {
			remedy = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return "", nil, nil, nil, fail(remedy, "unknown action %q in the second field of the descriptor", d.action)
	}
	a := descriptorActions[i]
	if a.command == "" {
		return "", nil, nil, nil, fail(a.remedy, "%s is refused: %s", a.action, a.refused)
	}
	given := map[string]string{useName: d.name, useDescription: d.description, useSubref: d.subref}
	for _, field := range a.needs {
		if given[field] == "" {
			return "", nil, nil, nil, fail("write "+form, "%s needs the field %s of the descriptor, which is empty", a.action, field)
		}
	}
	switch {
	case d.name == rootProcess && slices.Contains(a.needs, useName):
		return "", nil, nil, nil, fail("'aloft daemon stop' ends the daemon, 'aloft daemon status' shows it", "%s: rootProcess is no system here", a.action)
	case a.command == "up" || a.command == "parse":
		if d.subref != "" && d.subref != "sfConfig" {
			return "", nil, nil, nil, fail("write a file that includes "+d.description+" and says sfConfig extends "+d.subref,
				"%s takes the whole description, its sfConfig, not %s of it", a.action, d.subref)
		}
		if d.name != "" && a.command == "up" {
			options = []string{"--name=" + d.name}
		}
		args = []string{d.description}
	case a.command == "detach":
		options, args = a.options, []string{d.name, d.subref}
	case a.command != "doctor":
		if args = []string{d.name}; d.subref != "" {
			args = append(args, d.subref)
		}
	}
	return a.command, options, args, unused(d, a.command, given, append(slices.Clone(a.needs), a.takes...)), nil
}

// rootProcess is what SmartFrog calls the daemon of a host.
const rootProcess = "rootProcess"

// unused says which fields the command does not use, and why. What means nothing
// more than the usual is not worth a word.
func unused(d descriptor, command string, given map[string]string, used []string) (notes []string) {
	say := func(field, text, why string) {
		notes = append(notes, field+" "+text+" is not used: "+why)
	}
	for _, field := range []string{useName, useDescription, useSubref} {
		text := given[field]
		if usual := field == useName && text == rootProcess || field == useSubref && text == "sfConfig"; text == "" || usual || slices.Contains(used, field) {
			continue
		}
		why := "'aloft " + command + "' goes by the description alone"
		switch {
		case command == "doctor":
			why = "'aloft doctor' looks at this host"
		case field == useDescription:
			why = "'aloft " + command + "' goes by what was deployed"
		}
		say(field, text, why)
	}
	if d.host != "" && d.host != "localhost" && d.host != "127.0.0.1" {
		say("HOST", d.host, "the description says what machines there are, and --context or --home whose daemon is asked")
	}
	if d.process != "" && d.process != rootProcess {
		say("PROCESS", d.process, "components do not share processes; the daemon of a machine runs each apart")
	}
	return notes
}
