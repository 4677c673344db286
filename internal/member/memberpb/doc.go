// Package memberpb is the rows of a cluster's members in the shared store,
// generated from member.proto.
package memberpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative member.proto
