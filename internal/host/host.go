// Package host acts on the machine it runs on, for the managers of components:
// it supervises processes, writes files, installs packages, looks up users and
// asks who holds a port. It knows nothing of descriptions or life cycles, never
// builds a shell command, and on a machine without a root file system of its
// own touches nothing outside that machine's folder.
//
// Processes.Run, started by the daemon, owns every goroutine of the package.
package host
