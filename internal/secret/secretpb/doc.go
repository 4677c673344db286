// Package secretpb holds the rows of secrets in the shared store, generated from
// secret.proto. It has no behaviour of its own.
package secretpb

//go:generate protoc -I . --go_out=. --go_opt=paths=source_relative secret.proto
