// Package crash ends real daemons by SIGKILL at every instant around an
// outside effect, and once more while they recover, and compares what is there
// afterwards with what is there when nothing was killed.
//
// It runs on process machines, as nobody: what their components do to the
// host's disk outlives them, so that effects can be counted after the end of a
// machine too, and four times as many runs fit into the time.
package crash
