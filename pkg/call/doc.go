// Package call runs one call from the offer of a session to the release of its last resource. It joins a session of
// pkg/control, a link of pkg/ppp and the kernel objects between them into one machine. It is pure: the operations that need
// a kernel, an address pool or a user database go out as values and their results come back.
package call
