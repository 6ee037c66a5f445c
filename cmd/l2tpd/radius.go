package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/resolve"
)

// radiusFor fits pkg/auth/radius to the engine: it is the client of the present configuration. It is safe for concurrent use, but for
// configure.
type radiusFor struct {
	log      *slog.Logger
	names    *resolve.Resolver
	farewell time.Duration // how long records have to be delivered when a client ends; what is left waits in the spool
	conf     policy.RADIUS // configure's
	name     string        // the same

	mu      sync.Mutex
	client  *radius.Client  // nil: no servers are configured, or one client makes way for the next
	change  chan struct{}   // closed when that is over, and the next one has what came meanwhile; nil: it is not under way
	waiting []radius.Record // came meanwhile
	begun   bool            // the engine has said Accounting-On, and not Accounting-Off
	told    bool            // servers know that
}

var errNoServers = errors.New("there are no RADIUS servers, or none that can be used")

const (
	// farewell is the usual radiusFor.farewell.
	farewell = 3 * time.Second
	// maxMeanwhile bounds the records that come meanwhile.
	maxMeanwhile = 100000
)

// configure has the client be that of a configuration. After an error about the configuration it is as before. It may sleep, for the
// spool goes from one client to the next; nobody else waits for it but who logs in.
func (r *radiusFor) configure(c policy.RADIUS, hostName string) error {
	if reflect.DeepEqual(c, r.conf) && hostName == r.name {
		return nil
	}
	var cfg radius.Config
	if len(c.Servers) > 0 {
		var err error
		if cfg, err = r.config(c, hostName); err != nil {
			return fmt.Errorf("radius: %w", err)
		}
	}
	r.mu.Lock()
	old := r.client
	if !c.Accounts() {
		_ = r.announce(radius.Record{Kind: radius.Off, Cause: radius.AdminReboot}) // servers that cannot be told any more are no loss
	}
	r.client, r.change = nil, make(chan struct{})
	r.mu.Unlock()
	if old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), r.farewell)
		if err := old.Close(ctx); err != nil {
			r.log.Warn("RADIUS client ends", slog.String("why", err.Error()))
		}
		cancel()
	}
	r.conf, r.name = c, hostName
	var client *radius.Client
	var err error
	if len(c.Servers) > 0 {
		if client, err = r.open(cfg); err != nil {
			client, r.conf = nil, policy.RADIUS{}
			err = fmt.Errorf("radius: %w", err)
		}
	}
	r.mu.Lock()
	r.client = client
	if on := (radius.Record{Kind: radius.On}); r.begun { // before what came meanwhile
		if why := r.announce(on); why != nil {
			r.lost(on, why)
		}
	}
	for len(r.waiting) > 0 { // what comes now must not overtake it: it waits, too
		meanwhile := r.waiting
		r.waiting = nil
		for _, x := range meanwhile {
			if why := r.handOn(x); why != nil {
				r.lost(x, why)
			}
			r.mu.Unlock() // nobody waits for all of them
			r.mu.Lock()
		}
	}
	close(r.change)
	r.change = nil
	r.mu.Unlock()
	return err
}

func (r *radiusFor) lost(x radius.Record, why error) {
	r.log.Error("accounting record is lost", slog.String("session", x.SessionID), slog.String("why", why.Error()))
}

// open makes a client. Without a spool that can be used it has none: users log in all the same.
func (r *radiusFor) open(cfg radius.Config) (*radius.Client, error) {
	client, err := radius.New(cfg)
	if err == nil || cfg.Spool.Dir == "" {
		return client, err
	}
	why := err
	cfg.Spool.Dir = ""
	if client, err = radius.New(cfg); err == nil {
		r.log.Error("accounting records wait in memory alone, and are lost with the daemon: mend this and restart l2tpd", slog.String("why", why.Error()))
	}
	return client, err
}

// config is a configuration in the client's terms. Names of servers are looked up now.
func (r *radiusFor) config(c policy.RADIUS, hostName string) (radius.Config, error) {
	cfg := radius.Config{
		DeadTime: c.DeadTime, NAS: nas(c, hostName), Spool: radius.Spool{Dir: c.Spool, MaxOctets: c.SpoolSize}, Logger: r.log,
	}
	for _, s := range c.Servers {
		a, err := netip.ParseAddr(s.Address)
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			found, err := r.names.LookupNetIP(ctx, "ip", s.Address)
			cancel()
			if err != nil {
				return cfg, fmt.Errorf("server: %w", err)
			}
			a = found[0]
		}
		x := radius.Server{Name: s.Address, Secret: s.Secret, Timeout: s.Timeout, Tries: s.Tries, Source: s.Source, AllowUnsigned: s.Unsigned}
		if !s.NoLogins {
			x.Auth = netip.AddrPortFrom(a, s.Port)
		}
		if !s.NoAccounting {
			x.Accounting = netip.AddrPortFrom(a, s.AccountingPort)
		}
		cfg.Servers = append(cfg.Servers, x)
	}
	return cfg, nil
}

func nas(c policy.RADIUS, hostName string) radius.NAS {
	n := radius.NAS{Identifier: c.Identifier}
	if n.Identifier == "" {
		n.Identifier = hostName
	}
	if a := c.Address.Unmap(); a.Is4() {
		n.IPv4 = a
	} else {
		n.IPv6 = a
	}
	return n
}

// listen obeys the clients that are configured for Disconnect- and CoA-Requests.
func (r *radiusFor) listen(c policy.RADIUS, hostName string, h radius.Handler) (closers []func() error, err error) {
	for _, cfg := range r.listeners(c, hostName, h) {
		l, err := radius.Listen(cfg)
		if err != nil {
			return closers, fmt.Errorf("radius.coa: %w", err)
		}
		closers = append(closers, l.Close)
	}
	return closers, nil
}

// listeners are a configuration in the listeners' terms.
func (r *radiusFor) listeners(c policy.RADIUS, hostName string, h radius.Handler) (all []radius.ListenConfig) {
	for _, a := range c.CoAListen {
		cfg := radius.ListenConfig{Address: a, NAS: nas(c, hostName), Handler: h, Logger: r.log}
		for _, x := range c.CoA {
			cfg.Peers = append(cfg.Peers, radius.Peer{From: x.From, Secret: x.Secret, Signed: x.Signed})
		}
		all = append(all, cfg)
	}
	return all
}

// Authorize asks the servers. While one client makes way for the next it is the next that asks, also for a login that was under way.
func (r *radiusFor) Authorize(ctx context.Context, q radius.Request) (radius.Answer, error) {
	for {
		r.mu.Lock()
		client, change := r.client, r.change
		r.mu.Unlock()
		switch {
		case change != nil:
			select {
			case <-change:
			case <-ctx.Done():
				return radius.Answer{}, ctx.Err()
			}
		case client == nil:
			return radius.Answer{}, errNoServers
		default:
			if a, err := client.Authorize(ctx, q); !errors.Is(err, radius.ErrClosed) {
				return a, err
			}
		}
	}
}

// Account hands a record on. It does not wait: shards call it.
func (r *radiusFor) Account(x radius.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.change != nil {
		return r.later(x)
	}
	return r.handOn(x)
}

// handOn gives a record to the client. The mutex is held.
func (r *radiusFor) handOn(x radius.Record) error {
	switch daemon := x.Kind == radius.On || x.Kind == radius.Off; {
	case daemon:
		r.begun = x.Kind == radius.On
		return r.announce(x)
	case r.client == nil:
		return errNoServers
	}
	return r.client.Account(x)
}

// later keeps a record for the next client. The mutex is held.
func (r *radiusFor) later(x radius.Record) error {
	if len(r.waiting) >= maxMeanwhile {
		return radius.ErrLost
	}
	if x.At.IsZero() {
		x.At = time.Now()
	}
	r.waiting = append(r.waiting, x)
	return nil
}

// announce tells servers that accounting begins or ends, unless they know. Where there are none it is told with the first of them. The
// mutex is held.
func (r *radiusFor) announce(x radius.Record) error {
	begins := x.Kind == radius.On
	if begins == r.told {
		return nil
	}
	r.told = false
	if r.client == nil {
		return nil
	}
	err := r.client.Account(x)
	if errors.Is(err, radius.ErrNoServer) {
		return nil
	}
	r.told = begins
	return err
}

// Counters are the client's.
func (r *radiusFor) Counters() (c radius.Counters, ok bool) {
	r.mu.Lock()
	client := r.client
	r.mu.Unlock()
	if client == nil {
		return c, false
	}
	return client.Counters(), true
}

// close ends the client.
func (r *radiusFor) close() error { return r.configure(policy.RADIUS{}, "") }
