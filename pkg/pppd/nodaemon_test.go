//go:build !kernel

package pppd

// daemon is a program of the kernel tests.
func daemon() int { return 2 }
