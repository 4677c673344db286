// Package ownershippb holds the rows by which managers share the work,
// generated from ownership.proto. It has no behaviour of its own.
package ownershippb

//go:generate protoc -I . --go_out=. --go_opt=paths=source_relative ownership.proto
