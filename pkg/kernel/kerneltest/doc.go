// Package kerneltest is a Linux kernel for tests: it has the methods of pkg/kernel, needs no privileges, and enforces the
// rules of the real one. What the real kernel refuses is refused with the same errno; what a correct caller never does is
// also remembered, and Check fails the test for it.
//
// Kernels that are connected carry frames to each other's Receivers, keyed by tunnel and session ids as on a wire. A frame is
// delivered by a goroutine that exists only while there are frames, so that tests in a synctest bubble end by themselves.
package kerneltest
