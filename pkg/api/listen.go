package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultSocket is where the daemon listens and l2tpctl looks.
const DefaultSocket = "/run/l2tpd/l2tpd.sock"

// maxConns bounds the connections that are open at once. More wait in the kernel's queue.
const maxConns = 64

// ErrRunning says that another daemon serves the socket.
var ErrRunning = errors.New("another l2tpd is running")

// lockSocket takes the lock beside the socket, which one daemon holds for as long as it lives. The kernel drops it with the process, so a
// stale one cannot exist.
func lockSocket(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("api socket: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("api socket: %w", err)
	}
	if err := control(lock, func(fd uintptr) error { return unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		defer lock.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("api socket: lock %s: %w", lock.Name(), err)
		}
		pid := ""
		if b, err := io.ReadAll(io.LimitReader(lock, 20)); err == nil && isNumber(strings.TrimSpace(string(b))) {
			pid = " (pid " + strings.TrimSpace(string(b)) + ")"
		}
		return nil, fmt.Errorf("api socket %s: %w%s", path, ErrRunning, pid)
	}
	if err := errors.Join(lock.Truncate(0), writeAt(lock, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		lock.Close()
		return nil, fmt.Errorf("api socket: write %s: %w", lock.Name(), err)
	}
	return lock, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// control runs do on f's descriptor without making it blocking.
func control(f *os.File, do func(fd uintptr) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	return errors.Join(raw.Control(func(fd uintptr) { failed = do(fd) }), failed)
}

// removeStale removes a socket that nobody serves any more. The caller holds the lock. Anything that is not a socket stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("api socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("api socket: %s exists and is not a socket: remove it or configure another path", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return fmt.Errorf("api socket %s: %w: it answers", path, ErrRunning)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("api socket: %w", err)
	}
	return nil
}

// listenUnix makes the socket and gives it to the group. It returns the group's id, or -1 where there is none: then only
// the owner can open the socket.
func listenUnix(path, group string, log *slog.Logger) (*net.UnixListener, int, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, -1, fmt.Errorf("api socket: %w", err)
	}
	mode, gid := os.FileMode(0o600), -1
	if g, err := user.LookupGroup(group); group != "" && err == nil {
		if n, err := strconv.Atoi(g.Gid); err == nil {
			gid = n
		}
	}
	if gid >= 0 {
		if err := giveTo(path, gid); err != nil {
			log.Warn("api socket: its group cannot be set, so only root may read", slog.String("group", group), slog.Any("error", err))
		} else {
			mode = 0o660
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, -1, fmt.Errorf("api socket: %w", err)
	}
	return l, gid, nil
}

// giveTo sets path's group unless it is that already: the unit runs the daemon in the group, and forbids chown.
func giveTo(path string, gid int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Gid) == gid {
		return nil
	}
	return os.Chown(path, -1, gid)
}

// boundedListener accepts at most maxConns connections at a time.
type boundedListener struct {
	*net.UnixListener
	slots chan struct{}
	done  chan struct{}
	close sync.Once
}

func newBoundedListener(l *net.UnixListener) *boundedListener {
	return &boundedListener{UnixListener: l, slots: make(chan struct{}, maxConns), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundedConn{UnixConn: conn, slots: l.slots}, nil
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return l.UnixListener.Close()
}

// boundedConn gives its slot back when it is closed.
type boundedConn struct {
	*net.UnixConn
	slots chan struct{}
	close sync.Once
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.close.Do(func() { <-c.slots })
	return c.UnixConn.Close()
}
