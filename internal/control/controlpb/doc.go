// Package controlpb holds the rows of a system in the shared store, generated
// from control.proto. It has no behaviour of its own.
package controlpb

//go:generate protoc -I . -I ../../../api/peerpb --go_out=. --go_opt=paths=source_relative --go_opt=Mpeer.proto=aloft/api/peerpb control.proto
