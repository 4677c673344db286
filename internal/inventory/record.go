package inventory

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/value"
)

// Outputs that hold the record of a failed operation, until that has succeeded
// (runtime.md TR5). Every component may have them.
const (
	DeployFailure = "sfDeployFailure"
	StartFailure  = "sfStartFailure"
)

// IsFailure reports whether an output is one of these.
func IsFailure(name string) bool { return name == DeployFailure || name == StartFailure }

// RecordValue returns a termination record as others read it.
func RecordValue(r *component.Record) *value.Component {
	c := value.NewComponent(true)
	set := func(name string, v value.Value) { c.Set(value.Attr{Name: name, Value: v}) }
	set("type", value.String(r.Type))
	set("description", value.String(r.Description))
	set("path", value.String(r.Path.String()))
	set("cause", value.String(r.Cause))
	var output value.Vector
	for _, line := range r.Output {
		output = append(output, value.String(line))
	}
	set("output", output)
	set("remedy", value.String(r.Remedy))
	set("time", value.String(r.Time.UTC().Format(time.RFC3339Nano)))
	set("host", value.String(r.Host))
	return c
}

// RecordProto returns a termination record as it is sent and stored.
func RecordProto(r *component.Record) *peerpb.Record {
	if r == nil {
		return nil
	}
	w := &peerpb.Record{
		Type: string(r.Type), Description: r.Description, Path: string(r.Path), Cause: r.Cause,
		Output: r.Output, Remedy: r.Remedy, Host: r.Host,
	}
	if !r.Time.IsZero() {
		w.Time = timestamppb.New(r.Time)
	}
	return w
}

// RecordFromProto is the inverse of RecordProto.
func RecordFromProto(w *peerpb.Record) *component.Record {
	if w == nil {
		return nil
	}
	r := &component.Record{
		Type: component.RecordType(w.Type), Description: w.Description, Path: value.Path(w.Path), Cause: w.Cause,
		Output: w.Output, Remedy: w.Remedy, Host: w.Host,
	}
	if w.Time != nil {
		r.Time = w.Time.AsTime()
	}
	return r
}
