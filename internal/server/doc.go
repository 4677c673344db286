// Package server puts the daemon's Service on the wire: REST with an OpenAPI
// 3.1 document, events and logs as server-sent events, commands over an
// upgraded connection. It translates and decides nothing. It starts no
// goroutine but those of the HTTP server that Serve runs until its ctx ends.
package server
