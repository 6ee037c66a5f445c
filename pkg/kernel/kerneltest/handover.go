package kerneltest

import (
	"os"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// HandOver gives a descriptor that stands for the session's socket. What arrives from then on is for the process that has it:
// the Receiver does not run any more. Send, Attach and Pass break the rules then.
func (s *Session) HandOver() (*os.File, error) {
	var f *os.File
	err := s.do(OpHandOver, false, func() error {
		if s.attached {
			s.k.violate("session %v handed over with an interface", s.at())
			return errAttached
		}
		var err error
		if f, err = os.Open(os.DevNull); err == nil {
			s.handed, s.to = true, nobody
		}
		return err
	})
	return f, err
}

// nobody gets what another process gets.
var nobody = kernel.Funcs{}

// ours says that an operation is for the daemon to do, not for the process that a session was handed over to.
func (o Op) ours() bool { return o == OpSend || o == OpAttach || o == OpPass || o == OpBridge }
