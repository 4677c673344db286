package inventory

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"aloft/api/peerpb"
	"aloft/component"
	"aloft/value"
)

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
