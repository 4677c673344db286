// Package api holds the types of the Service API: what the command line, the
// console and other organisations say to a managing daemon, and what it
// answers. They are plain values with JSON names; the OpenAPI document is
// generated from them by internal/server. The package decides nothing, calls
// nobody and starts no goroutine.
package api

// Version is the version of the Service API, the first segment of its paths.
const Version = "v1"
