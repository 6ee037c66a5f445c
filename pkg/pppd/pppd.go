package pppd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Zero values of a Config stand for these.
const (
	defaultPath  = "/usr/sbin/pppd"
	defaultDir   = "/run/l2tpd/pppd"
	defaultLimit = 1000
	defaultGrace = 10 * time.Second
)

// sessionPrefix begins the names of the sessions' directories.
const sessionPrefix = "session-"

// Config is what a Supervisor needs.
type Config struct {
	Path   string        // of pppd; empty: /usr/sbin/pppd
	Dir    string        // for what pppd reads, on a tmpfs, of this daemon alone; empty: /run/l2tpd/pppd
	Logger *slog.Logger  // nil: silent
	Limit  int           // processes at a time; 0: 1000
	Grace  time.Duration // from Process.Stop to SIGKILL; 0: 10 s, which two unanswered Terminate-Requests fit in
}

// ErrLimit says that there are as many processes as there may be.
var ErrLimit = errors.New("there are as many pppd processes as there may be")

// Supervisor runs pppds in one network namespace: that of the thread that called New. Safe for concurrent use.
type Supervisor struct {
	cfg    Config
	log    *slog.Logger
	etc    string             // /etc/ppp
	cover  func(string) error // covers it
	thread *launcher

	straggle time.Duration // how long what a pppd has left behind may hold its pipes

	prepared bool // the launcher's: the machine has been found usable, and made so

	mu      sync.Mutex
	closed  bool
	running map[*Process]struct{} // until EvDown has been told
	places  int                   // that are taken, by processes and starts under way
	pending int                   // starts under way
	names   map[string]bool       // interface names in use by processes
	idle    sync.Cond             // a start has ended
}

// New makes a Supervisor, without looking whether there is a pppd: Start and Check do, each time, so that installing it helps
// at once.
func New(cfg Config) *Supervisor {
	s := &Supervisor{
		cfg: cfg, log: cfg.Logger, etc: etcPPP, cover: cover, thread: newLauncher(), straggle: 2 * time.Second,
		running: make(map[*Process]struct{}), names: make(map[string]bool),
	}
	s.idle.L = &s.mu
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.Path == "" {
		s.cfg.Path = defaultPath
	}
	if s.cfg.Dir == "" {
		s.cfg.Dir = defaultDir
	}
	if s.cfg.Limit <= 0 {
		s.cfg.Limit = defaultLimit
	}
	if s.cfg.Grace <= 0 {
		s.cfg.Grace = defaultGrace
	}
	return s
}

// Check says why no pppd could be started now, in most cases by an *UnavailableError. It may sleep.
func (s *Supervisor) Check() error { return s.thread.do(s.prepare) }

// prepare runs on the launcher's thread.
func (s *Supervisor) prepare() error {
	if err := checkProgram(s.cfg.Path); err != nil || s.prepared {
		return err
	}
	if err := checkSetuid(); err != nil {
		return err
	}
	if err := s.prepareDir(); err != nil {
		return fmt.Errorf("prepare %s: %w", s.cfg.Dir, err)
	}
	if err := s.cover(s.etc); err != nil {
		return err
	}
	s.prepared = true
	return nil
}

// prepareDir makes the directory ours alone and removes what a daemon that was killed has left.
func (s *Supervisor) prepareDir() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.cfg.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), sessionPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.cfg.Dir, e.Name())))
		}
	}
	return err
}

// Start starts a pppd and does not wait for what becomes of it. The events come one after the other, from a goroutine of the
// process, perhaps before Start has returned; the last one is EvDown. events must not block, nor call Process.Stop.
//
// The socket of the spec is Start's from the call on: pppd has a descriptor of its own, and this one is closed, after an error
// too. pppd's is closed by its end at the latest, and with the last descriptor of the socket the kernel's session goes. A session
// has one pppd in its life: its channel does not take a second interface.
func (s *Supervisor) Start(spec Spec, events func(Event)) (*Process, error) {
	if spec.Socket != nil {
		defer spec.Socket.Close()
	}
	p, err := s.start(&spec, events)
	if err != nil {
		return nil, fmt.Errorf("start pppd for session %s: %w", spec.Name, err)
	}
	return p, nil
}

func (s *Supervisor) start(spec *Spec, events func(Event)) (p *Process, err error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	if err := s.admit(); err != nil {
		return nil, err
	}
	defer func() { s.admitted(p) }()
	if len(spec.Auth) > 0 {
		for _, u := range spec.Users {
			if why := spec.checkUser(u); why != nil {
				s.log.Warn("a user cannot log in by pppd", slog.String("user", u.Name), slog.String("why", why.Error()))
			}
		}
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	iface, release, err := s.name(spec.Interface)
	if err != nil {
		return nil, err
	}
	p, err = s.launch(spec, iface, release, events)
	if err != nil {
		release()
		return nil, err
	}
	s.mu.Lock()
	s.running[p] = struct{}{}
	s.mu.Unlock()
	go p.run() // Close waits for it
	return p, nil
}

// admit counts a start in.
func (s *Supervisor) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return os.ErrClosed
	case s.places >= s.cfg.Limit:
		return fmt.Errorf("%w: %d", ErrLimit, s.cfg.Limit)
	}
	s.places++
	s.pending++
	return nil
}

// admitted counts it out. The place is the process's, if there is one.
func (s *Supervisor) admitted(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil {
		s.places--
	}
	s.pending--
	s.idle.Broadcast()
}

// vacate gives the place of a process back.
func (s *Supervisor) vacate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places--
}

// name makes an interface name out of a pattern, since pppd knows none: the first number that neither the kernel nor another
// pppd of ours uses. A name without a number must be free: pppd would fail with it, and say less.
func (s *Supervisor) name(pattern string) (name string, release func(), err error) {
	if pattern == "" {
		return "", func() {}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := 0; ; n++ {
		name = strings.Replace(pattern, "%d", strconv.Itoa(n), 1)
		if len(name) >= unix.IFNAMSIZ {
			return "", nil, fmt.Errorf("interface %s: no number is free: %w", pattern, os.ErrExist)
		}
		used, err := s.used(name)
		if err != nil {
			return "", nil, fmt.Errorf("look for interface %s: %w", name, err)
		}
		if !used && !s.names[name] {
			s.names[name] = true
			return name, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.names, name)
			}, nil
		}
		if name == pattern {
			return "", nil, fmt.Errorf("interface %s: %w", name, os.ErrExist)
		}
	}
}

// used asks the kernel for an interface.
func (s *Supervisor) used(name string) (used bool, err error) {
	err = s.thread.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
		used = err == nil
		if errors.Is(err, unix.ENODEV) {
			err = nil
		}
		return err
	})
	return used, err
}

// Close ends every pppd, in good order as Process.Stop does, and waits for all. When ctx ends, those that are left are
// killed. No Start is taken from then on.
func (s *Supervisor) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for s.pending > 0 {
		s.idle.Wait()
	}
	var all sync.WaitGroup
	errs := make(chan error, len(s.running))
	for p := range s.running {
		all.Go(func() { errs <- p.Stop(ctx) })
	}
	s.mu.Unlock()
	all.Wait()
	close(errs)
	s.thread.close()
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// forget takes a process out that Close waits for.
func (s *Supervisor) forget(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, p)
}
