package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"codeberg.org/miekg/dns"
)

const (
	maxStale = 5 * time.Minute  // for which an expired answer is given while no server answers (RFC 8767)
	recheck  = 5 * time.Second  // after which servers that did not answer are asked again, if there is an expired answer
	fileTTL  = 30 * time.Second // of what the hosts file says
)

// Config is what a resolver is made of. All of it may be zero.
type Config struct {
	Servers     []netip.AddrPort     // asked in this order; empty: those of ResolvConf, read again when it changes
	ResolvConf  string               // empty: /etc/resolv.conf
	Hosts       string               // asked before any server, read again when it changes; empty: /etc/hosts
	Timeout     time.Duration        // of one try; 0: 2 s
	Tries       int                  // rounds over all servers; 0: 2
	MaxEntries  int                  // names that are kept; 0: 4096
	MinTTL      time.Duration        // for which an answer is kept at least; 0: 1 s
	MaxTTL      time.Duration        // for which one is kept at most; 0: 1 h
	NegativeTTL time.Duration        // for which the absence of addresses is kept, unless the zone says less; 0: 30 s
	Now         func() time.Duration // a clock that does not jump, for the age of answers; nil: the process's own
}

// Resolver looks names up and keeps what it has learned. Its methods are safe for concurrent use. It holds no goroutine and no
// socket while no lookup is under way.
type Resolver struct {
	cfg     Config
	servers watched[[]netip.AddrPort]
	hosts   watched[map[string][]netip.Addr]

	mu      sync.Mutex
	cache   cache
	flights map[string]*flight

	lookups, hits, stale, asked, foreign atomic.Uint64
}

// New makes a resolver. It reads nothing yet.
func New(cfg Config) *Resolver {
	cfg.Servers = slices.Clone(cfg.Servers)
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), 2*time.Second)
	cfg.Tries = cmp.Or(max(cfg.Tries, 0), 2)
	cfg.MaxEntries = cmp.Or(max(cfg.MaxEntries, 0), 4096)
	cfg.MinTTL = cmp.Or(max(cfg.MinTTL, 0), time.Second)
	cfg.MaxTTL = max(cmp.Or(max(cfg.MaxTTL, 0), time.Hour), cfg.MinTTL)
	cfg.NegativeTTL = cmp.Or(max(cfg.NegativeTTL, 0), 30*time.Second)
	if cfg.Now == nil {
		begun := time.Now()
		cfg.Now = func() time.Duration { return time.Since(begun) }
	}
	return &Resolver{
		cfg:     cfg,
		servers: watched[[]netip.AddrPort]{path: cmp.Or(cfg.ResolvConf, "/etc/resolv.conf"), parse: parseServers},
		hosts:   watched[map[string][]netip.Addr]{path: cmp.Or(cfg.Hosts, "/etc/hosts"), parse: parseHosts},
		cache:   newCache(cfg.MaxEntries),
		flights: map[string]*flight{},
	}
}

// Answer is the addresses of a name.
type Answer struct {
	Addrs  []netip.Addr  // at least one; IPv4 and IPv6 in turn, IPv4 first, each family in the order in which the server gave it
	TTL    time.Duration // for which it holds from now on
	Cached bool          // nobody was asked for it now
	Stale  bool          // it has expired, but no server answers
}

// Stats counts since the resolver was made, and tells how many names it keeps.
type Stats struct {
	Lookups, Hits, Stale uint64 // calls of Lookup, those answered from the cache, those answered with what had expired
	Asked                uint64 // messages sent to servers
	Foreign              uint64 // messages received that were not the answer to what had been asked
	Entries              int
}

// Stats returns the counters.
func (r *Resolver) Stats() Stats {
	r.mu.Lock()
	n := len(r.cache.entries)
	r.mu.Unlock()
	return Stats{
		Lookups: r.lookups.Load(), Hits: r.hits.Load(), Stale: r.stale.Load(),
		Asked: r.asked.Load(), Foreign: r.foreign.Load(), Entries: n,
	}
}

// LookupNetIP is Lookup for those who want addresses only: of network "ip4", "ip6", or "ip" for both.
func (r *Resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network != "ip" && network != "ip4" && network != "ip6" {
		return nil, fmt.Errorf("look up %.80q: unknown network %q", host, network)
	}
	a, err := r.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	addrs := slices.DeleteFunc(a.Addrs, func(a netip.Addr) bool { return network == "ip4" && !a.Is4() || network == "ip6" && a.Is4() })
	if len(addrs) == 0 {
		return nil, &Error{Name: host, Err: fmt.Errorf("%w in %s", ErrNotFound, network)}
	}
	return addrs, nil
}

// Lookup finds the addresses of a name, which is absolute, with or without a last dot. An address is its own answer. Callers who ask
// for one name at the same time share the questions; when none of them waits any more, these end. An error is ErrBadName, or an
// *Error with ErrNotFound, with the end of ctx, or with what each server said.
//
// A name that has addresses of one family when nobody answered for the other is known to have those, but not for longer than the
// absence of a name is.
func (r *Resolver) Lookup(ctx context.Context, name string) (Answer, error) {
	r.lookups.Add(1)
	if a, err := netip.ParseAddr(name); err == nil {
		return Answer{Addrs: []netip.Addr{a.Unmap()}, TTL: r.cfg.MaxTTL, Cached: true}, nil
	}
	n, err := canonical(name)
	if err != nil {
		return Answer{}, err
	}
	if addrs := r.hosts.get()[n]; len(addrs) > 0 {
		return Answer{Addrs: inTurn(addrs), TTL: fileTTL, Cached: true}, nil
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, &Error{Name: n, Err: err}
	}

	r.mu.Lock()
	if a, err, ok := r.known(n); ok {
		r.mu.Unlock()
		return a, err
	}
	f := r.board(ctx, n)
	r.mu.Unlock()

	select {
	case <-f.done:
		return f.take()
	case <-ctx.Done():
		return r.leave(f, ctx.Err())
	}
}

// known answers from the cache, with r.mu held.
func (r *Resolver) known(name string) (Answer, error, bool) {
	e, now := r.cache.get(name), r.cfg.Now()
	switch {
	case e == nil:
		return Answer{}, nil, false
	case now < e.expires && e.absent != nil:
		r.hits.Add(1)
		return Answer{}, e.absent, true
	case now < e.expires:
		r.hits.Add(1)
		return Answer{Addrs: slices.Clone(e.addrs), TTL: e.expires - now, Cached: true}, nil, true
	case now < e.retry && e.usable(now):
		r.stale.Add(1)
		return Answer{Addrs: slices.Clone(e.addrs), TTL: e.retry - now, Cached: true, Stale: true}, nil, true
	}
	return Answer{}, nil, false
}

// fallBack answers with what has expired, when no server has answered, with r.mu held.
func (r *Resolver) fallBack(name string) (Answer, bool) {
	e, now := r.cache.get(name), r.cfg.Now()
	if e == nil || !e.usable(now) {
		return Answer{}, false
	}
	e.retry = now + recheck
	r.stale.Add(1)
	return Answer{Addrs: slices.Clone(e.addrs), TTL: recheck, Cached: true, Stale: true}, true
}

// flight is a lookup under way, and those who wait for it.
type flight struct {
	name    string
	cancel  context.CancelFunc
	tries   int           // rounds over all servers
	waiters int           // guarded by Resolver.mu
	done    chan struct{} // closed when all below is set
	said    []Said
	answer  Answer
	err     error
}

// take gives one caller the answer of a lookup that is done.
func (f *flight) take() (Answer, error) {
	a := f.answer
	a.Addrs = slices.Clone(a.Addrs)
	return a, f.err
}

// board joins the lookup of a name that is under way, or starts it, with r.mu held.
func (r *Resolver) board(ctx context.Context, name string) *flight {
	f := r.flights[name]
	if f == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{name: name, cancel: cancel, tries: r.cfg.Tries, done: make(chan struct{})}
		if e := r.cache.get(name); e != nil && e.usable(r.cfg.Now()) {
			f.tries = 1 // there is an answer if nobody has a newer one
		}
		r.flights[name] = f
		go r.fly(own, f)
	}
	f.waiters++
	return f
}

// leave is for a caller who cannot wait any longer, and why. If nobody else waits, the lookup ends before leave returns.
func (r *Resolver) leave(f *flight, why error) (a Answer, err error) {
	e := &Error{Name: f.name, Err: why}
	r.mu.Lock()
	select {
	case <-f.done: // just now
		r.mu.Unlock()
		return f.take()
	default:
	}
	var ok bool
	if errors.Is(why, context.DeadlineExceeded) { // not for one who has lost interest: that is not the servers' fault
		a, ok = r.fallBack(f.name)
	}
	f.waiters--
	last := f.waiters == 0
	if last {
		f.cancel()
		r.land(f)
	}
	r.mu.Unlock()
	if last {
		<-f.done
		e.Said = f.said
	}
	if ok {
		return a, nil
	}
	return Answer{}, e
}

// land takes a flight away, with r.mu held: the next caller has another.
func (r *Resolver) land(f *flight) {
	if r.flights[f.name] == f {
		delete(r.flights, f.name)
	}
}

// fly asks the servers for both families at the same time, and keeps what they say.
func (r *Resolver) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	servers := r.cfg.Servers
	if len(servers) == 0 {
		servers = r.servers.get()
	}
	var four, six outcome
	var wg sync.WaitGroup
	wg.Go(func() { four = r.ask(ctx, f.tries, servers, question{name: f.name, qtype: dns.TypeA}) })
	wg.Go(func() { six = r.ask(ctx, f.tries, servers, question{name: f.name, qtype: dns.TypeAAAA}) })
	wg.Wait()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.land(f)
	why := &Error{Name: f.name}
	why.add(four.said...)
	why.add(six.said...)
	f.said = why.Said
	if ctx.Err() == nil {
		f.answer, f.err = r.learn(why, four, six)
	}
	close(f.done)
}

// outcome is what came of one question.
type outcome struct {
	reply
	known bool // a server has answered: reply is valid
	said  []Said
}

// ask asks one server after the other until one knows.
func (r *Resolver) ask(ctx context.Context, tries int, servers []netip.AddrPort, q question) outcome {
	var o outcome
	for range tries {
		for _, server := range servers {
			a, err := r.try(ctx, server, q)
			if err == nil {
				o.reply, o.known = a, true
				if a.said != "" {
					o.said = append(o.said, Said{server, rcodeError{a.said}})
				}
				return o
			}
			o.said = append(o.said, Said{server, err})
			if ctx.Err() != nil {
				return o
			}
		}
	}
	return o
}

// learn makes the answer of what came of both questions, and keeps it, with r.mu held. If there is none, why is the error.
func (r *Resolver) learn(why *Error, four, six outcome) (Answer, error) {
	name, now := why.Name, r.cfg.Now()
	addrs := inTurn(slices.Concat(four.addrs, six.addrs))
	switch {
	case len(addrs) > 0:
		ttl := r.cfg.MaxTTL
		for _, o := range []outcome{four, six} {
			if len(o.addrs) > 0 {
				ttl = min(ttl, o.ttl)
			} else if !o.known {
				ttl = min(ttl, r.cfg.NegativeTTL)
			}
		}
		ttl = max(ttl, r.cfg.MinTTL)
		r.cache.put(&entry{name: name, addrs: addrs, expires: now + ttl}, now)
		return Answer{Addrs: addrs, TTL: ttl}, nil
	case four.known && six.known:
		ttl := r.cfg.NegativeTTL
		for _, o := range []outcome{four, six} {
			if o.ttl >= 0 {
				ttl = min(ttl, o.ttl)
			}
		}
		why.Err = ErrNotFound
		r.cache.put(&entry{name: name, absent: why, expires: now + max(ttl, r.cfg.MinTTL)}, now)
		return Answer{}, why
	}
	if a, ok := r.fallBack(name); ok {
		return a, nil
	}
	return Answer{}, why
}

// inTurn gives IPv4 and IPv6 addresses in turn, and leaves the order within each family: whoever tries one after the other has tried
// both families after two. IPv4 is first, for that is where most peers of L2TPv2 are, and a machine without IPv6 loses no attempt.
func inTurn(addrs []netip.Addr) []netip.Addr {
	var four, six []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	turns := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(four), len(six)) {
		if i < len(four) {
			turns = append(turns, four[i])
		}
		if i < len(six) {
			turns = append(turns, six[i])
		}
	}
	return turns
}
