// Package peerpb holds the messages daemons exchange, generated from
// peer.proto and cluster.proto. It has no behaviour of its own.
package peerpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative peer.proto cluster.proto
