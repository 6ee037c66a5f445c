package kerneltest

import (
	"os"
)

// HandOver gives a descriptor that stands for the session's socket. What arrives from then on is for the process that has it:
// the sink does not run any more. Send, Attach and Pass break the rules then.
func (s *Session) HandOver() (*os.File, error) {
	var f *os.File
	err := s.do(OpHandOver, false, func() error {
		if s.attached {
			s.k.violate("session %v handed over with an interface", s.at())
			return errAttached
		}
		var err error
		if f, err = os.Open(os.DevNull); err == nil {
			s.handed, s.sink = true, nobody
		}
		return err
	})
	return f, err
}

// nobody is the sink of a session whose frames are another process's.
func nobody([]byte) {}

// ours says that an operation is for the daemon to do, not for the process that a session was handed over to.
func (o Op) ours() bool { return o == OpSend || o == OpAttach || o == OpPass || o == OpBridge }
