package network

// IPv6Error says that IPv6 alone could not be had on an interface, and why. All else that was asked for is in place.
type IPv6Error struct {
	Err error // the operation that failed, and what the kernel said
}

// Error is one line.
func (e *IPv6Error) Error() string { return "no ipv6: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *IPv6Error) Unwrap() error { return e.Err }
