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

// radiusFor fits pkg/auth/radius to the engine: it is the client of the present configuration. It is safe for concurrent use.
type radiusFor struct {
	log   *slog.Logger
	names *resolve.Resolver

	mu     sync.RWMutex
	client *radius.Client // nil: no servers are configured
	conf   policy.RADIUS
	name   string
}

var errNoServers = errors.New("no RADIUS servers are configured")

// farewell is how long accounting records have to be delivered when a client ends; what is left waits in the spool.
const farewell = 3 * time.Second

// configure has the client be that of a configuration. After an error it is as before.
func (r *radiusFor) configure(c policy.RADIUS, hostName string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reflect.DeepEqual(c, r.conf) && hostName == r.name {
		return nil
	}
	old := r.client
	if old != nil { // its spool is the next one's
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := old.Close(ctx); err != nil {
			r.log.Warn("RADIUS client ends", slog.String("why", err.Error()))
		}
		r.client = nil
	}
	r.conf, r.name = c, hostName
	if len(c.Servers) == 0 {
		return nil
	}
	cfg, err := r.config(c, hostName)
	if err == nil {
		r.client, err = radius.New(cfg)
	}
	if err != nil {
		return fmt.Errorf("radius: %w", err)
	}
	return nil
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

// Authorize asks the servers.
func (r *radiusFor) Authorize(ctx context.Context, q radius.Request) (radius.Answer, error) {
	r.mu.RLock()
	c := r.client
	r.mu.RUnlock()
	if c == nil {
		return radius.Answer{}, errNoServers
	}
	return c.Authorize(ctx, q)
}

// Account hands a record on.
func (r *radiusFor) Account(x radius.Record) error {
	r.mu.RLock()
	c := r.client
	r.mu.RUnlock()
	if c == nil {
		return errNoServers
	}
	return c.Account(x)
}

// close ends the client.
func (r *radiusFor) close() error { return r.configure(policy.RADIUS{}, "") }
