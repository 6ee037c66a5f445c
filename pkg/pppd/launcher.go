package pppd

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// launcher is an OS thread that every pppd is started from. It lives as long as the Supervisor for two reasons. The kernel tells a
// child of the end of the thread that made it, not of the process: a child of any thread of Go's would be told much too early.
// And the thread has the mount namespace in which /etc/ppp is covered.
type launcher struct {
	calls chan func()
	quit  chan struct{}
	ended chan struct{}
	err   error // why the thread is of no use; set before the first call is served
}

// newLauncher starts the thread in the network namespace of the one that called.
func newLauncher() *launcher {
	l := &launcher{calls: make(chan func()), quit: make(chan struct{}), ended: make(chan struct{})}
	const ours = "/proc/thread-self/ns/net"
	namespace, err := os.Open(ours)
	go func() {
		defer close(l.ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err == nil {
			l.err = enter(namespace, ours)
		}
		for {
			select {
			case f := <-l.calls:
				f()
			case <-l.quit:
				return
			}
		}
	}()
	return l
}

// enter moves the thread into a network namespace, unless it is there: moving takes a power that a hardened daemon has not.
func enter(namespace *os.File, ours string) error {
	defer namespace.Close()
	there, err := namespace.Stat()
	if err != nil {
		return err
	}
	here, err := os.Stat(ours)
	if err != nil || os.SameFile(here, there) {
		return err
	}
	return unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
}

// do runs f on the thread and waits for it. After close it is os.ErrClosed.
func (l *launcher) do(f func() error) error {
	done := make(chan error, 1)
	call := func() {
		if l.err != nil {
			done <- fmt.Errorf("enter the network namespace: %w", l.err)
			return
		}
		done <- f()
	}
	select {
	case l.calls <- call:
		return <-done
	case <-l.ended:
		return os.ErrClosed
	}
}

// close ends the thread, and with it every child that is left: each is sent SIGTERM.
func (l *launcher) close() {
	close(l.quit)
	<-l.ended
}
