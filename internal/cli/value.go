package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"aloft/api"
	"aloft/value"
)

// printValue prints one value: a string bare, the rest in the description
// language, or as typed JSON.
func (a *app) printValue(got *api.Value) error {
	v, err := value.Decode(got.Value)
	if err != nil {
		return fmt.Errorf("value of %s %s: %w", got.System, got.Path, err)
	}
	switch a.format {
	case "json":
		var out bytes.Buffer
		if err := json.Indent(&out, value.TypedJSON(v), "", "  "); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout, out.String())
		return nil
	case "yaml":
		return a.yaml(json.RawMessage(value.TypedJSON(v)))
	case "name":
		fmt.Fprintln(a.Stdout, got.Path)
		return nil
	}
	if s, ok := v.(value.String); ok {
		fmt.Fprintln(a.Stdout, string(s))
		return nil
	}
	fmt.Fprintln(a.Stdout, value.Source(v))
	return nil
}
