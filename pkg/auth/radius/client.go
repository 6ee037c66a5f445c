package radius

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	codec "layeh.com/radius"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Sentinels of this package.
var (
	ErrNoAnswer = errors.New("no RADIUS server has answered")
	ErrNoServer = errors.New("no RADIUS server is configured for this")
	ErrClosed   = errors.New("RADIUS client is closed")
	// ErrLost: an accounting record was not kept, because there is no room for it.
	ErrLost = errors.New("accounting record is lost")
)

// Server is one RADIUS server.
type Server struct {
	Name       string         // for logs and counters; empty: its address
	Auth       netip.AddrPort // none: it is not asked about logins
	Accounting netip.AddrPort // none: it gets no accounting
	Secret     policy.Secret
	Timeout    time.Duration // of one try; 0: 3 s
	Tries      int           // 0: 3
	Source     netip.Addr    // that we ask from, where it is of the server's family; none: the kernel's choice
	// AllowUnsigned takes answers to Access-Requests without a Message-Authenticator, for old servers. They can be forged by whoever
	// is between (P238).
	AllowUnsigned bool
}

// Config is what a Client is made of.
type Config struct {
	Servers    []Server      // in order of preference
	DeadTime   time.Duration // how long a server that did not answer is asked last; 0: 1 min
	NAS        NAS
	MaxTunnels int // of one Answer; 0: 16
	Spool      Spool
	Logger     *slog.Logger     // nil: silent
	Now        func() time.Time // wall clock for time stamps; nil: time.Now
}

// Spool says where accounting records wait, and how many.
type Spool struct {
	// Dir is a directory for this client alone, made if need be. Empty: records wait in memory and die with the process.
	Dir string
	// MaxOctets bounds the file in Dir, or without it the memory, together with MaxRecords. Records that wait fill at most a quarter
	// of the file. 0: 64 MiB and 65536.
	MaxOctets  int64
	MaxRecords int
}

// Client asks RADIUS servers. It is safe for concurrent use. Close it.
type Client struct {
	cfg              Config
	log              *slog.Logger
	auth, accounting []*endpoint
	account          *accountant
}

// New checks the configuration, opens the spool, and begins to deliver what waits there. It sends nothing else by itself. An error
// names the server or the file.
func New(cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, log: cfg.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	c.cfg.DeadTime = cmp.Or(cfg.DeadTime, time.Minute)
	c.cfg.MaxTunnels = cmp.Or(cfg.MaxTunnels, 16)
	for i, s := range cfg.Servers {
		if err := c.add(s); err != nil {
			return nil, fmt.Errorf("RADIUS server %d: %w", i+1, err)
		}
	}
	var err error
	if c.account, err = newAccountant(c); err != nil {
		return nil, fmt.Errorf("accounting spool %s: %w", cfg.Spool.Dir, err)
	}
	return c, nil
}

func (c *Client) add(s Server) error {
	switch {
	case s.Secret.Empty():
		return errors.New("it has no secret")
	case s.Timeout < 0 || s.Tries < 0:
		return errors.New("its timeout or tries are negative")
	case !s.Auth.IsValid() && !s.Accounting.IsValid():
		return errors.New("it has no address")
	}
	s.Timeout, s.Tries = cmp.Or(s.Timeout, 3*time.Second), cmp.Or(s.Tries, 3)
	source := func(remote netip.AddrPort) netip.Addr {
		if s.Source.IsValid() && s.Source.Unmap().Is4() == remote.Addr().Unmap().Is4() {
			return s.Source
		}
		return netip.Addr{}
	}
	if s.Auth.IsValid() {
		t := s
		t.Name = cmp.Or(s.Name, s.Auth.String())
		c.auth = append(c.auth, newEndpoint(t, "logins", s.Auth, source(s.Auth), !s.AllowUnsigned))
	}
	if s.Accounting.IsValid() {
		t := s
		t.Name = cmp.Or(s.Name, s.Accounting.String())
		c.accounting = append(c.accounting, newEndpoint(t, "accounting", s.Accounting, source(s.Accounting), false))
	}
	return nil
}

// Authorize asks the servers in turn until one answers, and returns what it said: an error means that none did, or that ctx ended. A
// request that cannot be sent, because of what the peer presented, is refused without asking.
func (c *Client) Authorize(ctx context.Context, r Request) (Answer, error) {
	if err := r.check(); err != nil {
		return Answer{Reason: err.Error()}, nil
	}
	q := question{request: r, maxTunnels: c.cfg.MaxTunnels}
	p, e, err := c.ask(ctx, c.auth, func(e *endpoint, id uint8) ([]byte, error) {
		q.secret = e.secret
		if _, err := rand.Read(q.authenticator[:]); err != nil {
			return nil, fmt.Errorf("read entropy: %w", err)
		}
		return r.packet(c.cfg.NAS, e.secret, id, q.authenticator)
	}, codec.CodeAccessAccept, codec.CodeAccessReject, codec.CodeAccessChallenge)
	if err != nil {
		return Answer{}, fmt.Errorf("authorize: %w", err)
	}
	a := q.decode(p)
	a.Server = e.name
	if a.Accept {
		e.counts.accepts.Add(1)
	} else {
		e.counts.rejects.Add(1)
	}
	return a, nil
}

// ask tries the endpoints in turn: those that are alive in the order of the configuration, then the others (P237).
func (c *Client) ask(ctx context.Context, all []*endpoint, build func(e *endpoint, id uint8) ([]byte, error), codes ...codec.Code,
) (*codec.Packet, *endpoint, error) {
	if len(all) == 0 {
		return nil, nil, ErrNoServer
	}
	order, last := make([]*endpoint, 0, len(all)), []*endpoint(nil)
	for _, e := range all {
		if e.isDead() {
			last = append(last, e)
		} else {
			order = append(order, e)
		}
	}
	var failed []string // in one line of a log
	for _, e := range append(order, last...) {
		begun := time.Now()
		p, err := e.exchange(ctx, func(id uint8) ([]byte, error) { return build(e, id) })
		if err == nil && !slices.Contains(codes, p.Code) {
			err = fmt.Errorf("answer of code %d", p.Code)
		}
		switch {
		case err == nil:
			if e.alive() {
				c.log.LogAttrs(ctx, slog.LevelInfo, "RADIUS server answers again", slog.String("server", e.name), slog.String("service", e.service))
			}
			return p, e, nil
		case errors.Is(err, ErrClosed) || ctx.Err() != nil:
			return nil, nil, err
		}
		if e.dead(begun, c.cfg.DeadTime) {
			c.log.LogAttrs(ctx, slog.LevelWarn, "RADIUS server does not answer", slog.String("server", e.name),
				slog.String("service", e.service), slog.Any("err", err))
		}
		failed = append(failed, e.name+": "+err.Error())
	}
	return nil, nil, fmt.Errorf("%w: %s", ErrNoAnswer, strings.Join(failed, "; "))
}

// Close ends what is under way: logins at once, with ErrClosed; accounting is delivered as long as servers answer and ctx lasts, and
// what is left waits in the spool. An error says how many records are lost because there is none.
func (c *Client) Close(ctx context.Context) error {
	for _, e := range c.auth {
		e.close()
	}
	err := c.account.close(ctx)
	for _, e := range c.accounting {
		e.close()
	}
	return err
}
