package ipv6

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Config is what a Server is made of.
type Config struct {
	Logger *slog.Logger // nil: silent
	Now    func() Time
	// Identity tells this server from others, for clients that knew it before a restart. Empty: the machine's id.
	Identity string
}

// Server serves interfaces. Its methods are safe for concurrent use, but calls for the same interface must not overlap. It lives
// in the network namespace of the thread that calls New, and Serve is called there too.
type Server struct {
	cfg     Config
	log     *slog.Logger
	icmp    *socket
	dhcp    *socket
	members *members
	running sync.WaitGroup
	done    chan struct{} // closed by Close
	wake    chan struct{} // the timer must look again

	mu    sync.Mutex // held from a decision until what is to be sent has left
	core  *core
	until Time // when the timer looks again; 0: it does not sleep
}

// never is when the timer looks again when there is nothing to wait for.
const never = Time(1<<63 - 1)

// New opens the sockets, which takes CAP_NET_RAW and CAP_NET_BIND_SERVICE, and begins to serve.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, log: cfg.Logger, members: newMembers(), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	id, err := serverID(cfg.Identity, machineID)
	if err != nil {
		return nil, fmt.Errorf("identity of the DHCPv6 server: %w", err)
	}
	s.core = newCore(id, func(d time.Duration) time.Duration { return rand.N(d) })
	if s.icmp, err = openAdvertiser(); err != nil {
		return nil, err
	}
	if s.dhcp, err = openServer(); err != nil {
		return nil, errors.Join(err, s.icmp.close())
	}
	if !forwards() {
		s.log.Warn("this host does not forward IPv6: subscribers reach nothing beyond it, and their router solicitations are not "+
			"heard; set net.ipv6.conf.all.forwarding=1", slog.String("event", "ipv6-forwarding"))
	}
	s.running.Go(s.expire)
	s.running.Go(func() { s.read(s.icmp, (*core).solicitation) })
	s.running.Go(func() { s.read(s.dhcp, (*core).message) })
	return s, nil
}

// forwards reads whether the kernel is a router. Only then it is in the group that router solicitations are sent to.
func forwards() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/forwarding")
	return err != nil || strings.TrimSpace(string(b)) != "0"
}

// Close stops serving and waits for what is under way. Nothing is sent: addresses and prefixes live on until they expire.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.core.links == nil {
		s.mu.Unlock()
		return nil
	}
	s.core.links, s.core.due = nil, nil
	close(s.done)
	s.mu.Unlock()
	err := errors.Join(s.icmp.close(), s.dhcp.close())
	s.running.Wait()
	s.members.close()
	return err
}

// Serve begins to serve the interface of that index, or begins anew with another lease. The interface must have its link-local
// address. notify is told what becomes of the delegated prefix, in order and never after Stop or another Serve has returned; it
// must neither block nor call the Server. An interface that is gone is os.ErrNotExist, at least when there is something to be
// had by DHCPv6.
//
// It may wait for the kernel's lock of network configuration. After an error the interface is not served.
func (s *Server) Serve(index int, lease Lease, notify func(Event)) error {
	if err := s.serve(index, lease, notify); err != nil {
		s.Stop(index)
		return fmt.Errorf("serve IPv6 on interface %d: %w", index, err)
	}
	return nil
}

func (s *Server) serve(index int, lease Lease, notify func(Event)) error {
	lease, err := lease.complete()
	if err != nil {
		return err
	}
	if lease.dhcp() {
		if err := s.members.join(index); err != nil {
			return absent(err)
		}
	}
	var closed bool
	s.locked(func(c *core, now Time) {
		if closed = c.links == nil; closed {
			return
		}
		err = c.serve(now, index, lease, func(e Event, token uint64) {
			if notify == nil {
				return
			}
			if e.Change == Taken {
				e.Ready = func() { s.ready(index, token) }
			}
			notify(e)
		})
	})
	if closed {
		return os.ErrClosed
	}
	return err
}

// absent gives the error of an interface that is not there the name that it has everywhere.
func absent(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%w: %w", os.ErrNotExist, err)
	}
	return err
}

// Stop ends serving an interface, without an event. One that is not served, or gone, is no error. It may wait for the kernel's
// lock of network configuration.
func (s *Server) Stop(index int) {
	s.locked(func(c *core, _ Time) { c.stop(index) })
	s.members.leave(index)
}

// Counters gives what was counted since New.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.counts
}

// locked lets f decide, and send, and wakes the timer if it sleeps too long for what was decided.
func (s *Server) locked(f func(c *core, now Time)) {
	s.mu.Lock()
	f(s.core, s.cfg.Now())
	at, any := s.core.deadline()
	early := any && at < s.until
	s.mu.Unlock()
	if early {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// ready is an Event's.
func (s *Server) ready(index int, token uint64) {
	s.locked(func(c *core, _ Time) {
		if p, ok := c.ready(index, token); ok {
			s.send(s.dhcp, p)
		}
	})
}

// read feeds what a socket receives to the core until it is closed.
func (s *Server) read(from *socket, handle func(*core, Time, datagram) (packet, bool)) {
	for {
		d, err := from.receive()
		switch {
		case err == nil:
			s.locked(func(c *core, now Time) {
				if p, ok := handle(c, now, d); ok {
					s.send(from, p)
				}
			})
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, errTruncated):
			s.locked(func(c *core, _ Time) { c.counts.Malformed++ })
		default:
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "receive", slog.String("socket", from.file.Name()), slog.Any("err", err))
			select { // an error that stays must not take a processor
			case <-s.done:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// expire sends advertisements and ends registrations when they are due.
func (s *Server) expire() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, due := s.next()
		if due {
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// next sends one advertisement that is due, else gives how long there is none.
func (s *Server) next() (wait time.Duration, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if p, ok := s.core.next(now); ok {
		s.until = 0
		s.send(s.icmp, p)
		return 0, true
	}
	at, any := s.core.deadline()
	if !any {
		at = never
	}
	s.until = at
	return at - now, false
}

// send sends a packet, which does not wait. It needs mu, as the decision did: none leaves after Stop, when the interface may be the next
// subscriber's. The kernel may refuse it: often the interface was just taken down. A host that is not the one which the interface has as
// its peer has no route of its own, but hears what is for all.
func (s *Server) send(through *socket, p packet) {
	err := through.send(p)
	if errors.Is(err, unix.ENETUNREACH) && through == s.icmp && p.to != allNodes {
		p.to = allNodes
		err = through.send(p)
	}
	if err == nil {
		return
	}
	s.core.counts.Unsent++
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "send", slog.String("socket", through.file.Name()),
		slog.Int("interface", p.index), slog.String("to", p.to.String()), slog.Any("err", err))
}
