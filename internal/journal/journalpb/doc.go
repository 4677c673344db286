// Package journalpb holds the rows of a journal, generated from
// journal.proto. It has no behaviour of its own.
package journalpb

//go:generate protoc -I. -I../../../api/peerpb --go_out=. --go_opt=paths=source_relative journal.proto
