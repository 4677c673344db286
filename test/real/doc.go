// Package real runs the product as its users do: the plain binary, daemons in
// processes of their own, machines out of namespaces, services over HTTP. It
// holds only tests; they need root on Linux, and each has a home of its own.
package real
