package executables

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"aloft/component"
	"aloft/internal/host"
	"aloft/value"
)

const (
	// attributesFile and oldFile have the attributes during an operation.
	attributesFile = "attributes.json"
	oldFile        = "attributes-before.json"
)

// input returns what an executable gets: its environment and standard input.
func (o own) input(c *component.Call, operation string) (env map[string]string, stdin []byte, err error) {
	stdin = value.TypedJSON(o.attrs)
	env = map[string]string{
		"ALOFT_OPERATION": operation, "ALOFT_SYSTEM": c.System, "ALOFT_PATH": c.Path.String(), "ALOFT_WORK_DIR": c.WorkDir,
		"ALOFT_ADDRESS": c.Machine.Address, "ALOFT_HOSTNAME": c.Machine.Hostname, "ALOFT_MACHINE_FOLDER": c.Machine.Folder,
		"ALOFT_ATTRIBUTES": filepath.Join(c.WorkDir, attributesFile),
	}
	if err := host.WriteFile(env["ALOFT_ATTRIBUTES"], stdin, 0o600); err != nil {
		return nil, nil, err
	}
	if c.Old != nil && operation == reconfigure {
		before, err := read(c, c.Old)
		if err != nil {
			return nil, nil, err
		}
		env["ALOFT_OLD_ATTRIBUTES"] = filepath.Join(c.WorkDir, oldFile)
		if err := host.WriteFile(env["ALOFT_OLD_ATTRIBUTES"], value.TypedJSON(before.attrs), 0o600); err != nil {
			return nil, nil, err
		}
	}
	outputs := value.NewComponent(true)
	for name, v := range c.Outputs {
		outputs.Set(value.Attr{Name: name, Value: v})
	}
	if text := string(value.PlainJSON(outputs)); len(text) <= longest {
		env["ALOFT_OUTPUTS"] = text
	}
	if operation == terminate {
		record, err := json.Marshal(c.Record)
		if err != nil {
			return nil, nil, err
		}
		env["ALOFT_RECORD"] = string(record)
	}
	for a := range o.attrs.All() {
		line, _ := o.class.Attribute(a.Name)
		text, err := component.Text(a.Value)
		// Everybody's processes may be asked for their environment, of which the
		// kernel takes no more than 128 KiB in one piece.
		if err == nil && !line.Secret && len(text) <= longest && !strings.HasPrefix(a.Name, "sf") && !strings.ContainsRune(text, 0) {
			env[variable(a.Name)] = text
		}
	}
	for name, text := range env {
		if strings.ContainsRune(text, 0) {
			return nil, nil, fmt.Errorf("%s cannot have a zero byte", name)
		}
	}
	return env, stdin, nil
}

// longest is how many bytes a variable may have; what is longer is in the files.
const longest = 64 << 10

// outputName is an output's name as descriptions write it without quotes.
var outputName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// results reads what an executable wrote to descriptor 3: lines name=value, or
// one JSON object.
func results(written []byte) (*value.Component, error) {
	out := value.NewComponent(true)
	written = bytes.TrimSpace(written)
	if !bytes.HasPrefix(written, []byte("{")) {
		for line := range strings.Lines(string(written)) {
			line = strings.TrimRight(line, "\r\n")
			if strings.TrimSpace(line) == "" {
				continue
			}
			name, text, ok := strings.Cut(line, "=")
			if !ok || !outputName.MatchString(name) {
				return nil, fmt.Errorf("%q is no line name=value", line)
			}
			out.Set(value.Attr{Name: name, Value: value.String(text)})
		}
		return out, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(written, &object); err != nil {
		return nil, err
	}
	for name, text := range object {
		if !outputName.MatchString(name) {
			return nil, fmt.Errorf("%q is no name of an output", name)
		}
		v, err := value.Decode(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Set(value.Attr{Name: name, Value: v})
	}
	return out, nil
}

// output puts out what an executable wrote to descriptor 3.
func (o own) output(env component.Environment, operation string, written []byte) error {
	out, err := results(written)
	if err != nil {
		return &component.Failure{
			Err:    fmt.Errorf("%s wrote to descriptor 3: %w", operation, err),
			Remedy: `write lines name=value there, such as: echo port=80 >&3; or one JSON object`,
		}
	}
	var all []value.Attr
	for a := range out.All() {
		if _, is := o.attrs.Get(a.Name); is || strings.HasPrefix(a.Name, "sf") {
			return &component.Failure{Err: fmt.Errorf("%s put out %q, which is an attribute of its own", operation, a.Name), Remedy: "choose another name"}
		}
		if a.Value, err = o.declared(a.Name, a.Value); err != nil {
			return &component.Failure{Err: fmt.Errorf("%s put out %w", operation, err), Remedy: "have describe name the outputs and their types, or none"}
		}
		all = append(all, a)
	}
	for _, a := range all {
		env.Output(a.Name, a.Value)
	}
	return nil
}

// declared returns v as the class says that the output is.
func (o own) declared(name string, v value.Value) (value.Value, error) {
	i := slices.IndexFunc(o.class.Outputs, func(p component.Output) bool { return p.Name == name })
	if i < 0 {
		if !o.class.OpenOutputs {
			return nil, fmt.Errorf("%q, which describe does not name", name)
		}
		text, err := component.Text(v)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		return value.String(text), nil
	}
	kind := o.class.Outputs[i].Kind
	if v.Kind() == kind {
		return v, nil
	}
	text, err := component.Text(v)
	if err == nil {
		if v, err = parse(text, kind); err == nil {
			return v, nil
		}
	}
	return nil, fmt.Errorf("%q: want a %s: %w", name, kind, err)
}

// parse reads a scalar of a kind.
func parse(text string, kind value.Kind) (value.Value, error) {
	switch kind {
	case value.KindString:
		return value.String(text), nil
	case value.KindBool:
		b, err := strconv.ParseBool(text)
		return value.Bool(b), err
	case value.KindInteger:
		n, err := strconv.ParseInt(text, 10, 32)
		return value.Integer(n), err
	case value.KindLong:
		n, err := strconv.ParseInt(text, 10, 64)
		return value.Long(n), err
	case value.KindFloat:
		f, err := strconv.ParseFloat(text, 32)
		return value.Float(f), err
	case value.KindDouble:
		f, err := strconv.ParseFloat(text, 64)
		return value.Double(f), err
	}
	return nil, errors.New("only one JSON object can have that")
}
