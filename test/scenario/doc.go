//go:build kernel

// Package scenario runs l2tpd end to end: real daemons on the hosts of a test lab, real kernels below them, foreign peers
// beside them. Each test is one rule of what users rely on.
package scenario
