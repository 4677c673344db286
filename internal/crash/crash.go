//go:build !crash

// Package crash ends the process by SIGKILL at instants that a test has chosen:
// before an intent, between intent and act, between act and result, and after
// it. Only binaries built with the tag "crash", which nothing but that test
// does, contain any of it: in all others its functions are empty, and no
// setting of a user can bring them to life.
package crash

// On says whether this binary has the instants. What names one is not made
// where it is false.
const On = false

// In says where the test's wishes are found: for the daemon called name, whose
// state folder is dir.
func In(dir, name string) {}

// Here is an instant at which the process may be ended; what says which.
func Here(what string) {}
