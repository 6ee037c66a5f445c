package kernel

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// UnavailableError says that this machine cannot carry L2TP sessions, and what the operator does about it.
type UnavailableError struct {
	What   string // what is missing
	Advice string // what to do
	Err    error  // what the kernel said; may be nil
}

// Error is one line.
func (e *UnavailableError) Error() string { return e.What + ": " + e.Advice }

// Unwrap gives what the kernel said.
func (e *UnavailableError) Unwrap() error { return e.Err }

// errnoError is an errno whose meaning for the caller differs from the one package syscall gives it: L2TP says ENODEV,
// PPP ENXIO and PPPoE ENOTCONN for an object that is not there.
type errnoError struct {
	errno syscall.Errno
	kind  error
}

func (e *errnoError) Error() string        { return e.errno.Error() }
func (e *errnoError) Is(target error) bool { return target == e.kind }
func (e *errnoError) Unwrap() error        { return e.errno }

// edge translates what a system call or a netlink request returned into what this package promises. The kernel's own
// words, if it sent any, are kept.
func edge(err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	var said error = errno
	if kind, ok := map[syscall.Errno]error{
		unix.ENODEV: os.ErrNotExist, unix.ENXIO: os.ErrNotExist, unix.EALREADY: os.ErrExist, unix.EBADF: os.ErrClosed,
		unix.ENOTCONN: os.ErrNotExist,
	}[errno]; ok {
		said = &errnoError{errno, kind}
	}
	var op *netlink.OpError
	if errors.As(err, &op) && op.Message != "" {
		return fmt.Errorf("%w (%s)", said, op.Message)
	}
	return said
}
