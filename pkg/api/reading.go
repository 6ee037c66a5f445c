package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"
)

// readers are the paths of the tables, below those of tunnels, sessions and calls.
func (s *Server) readers() map[string]func(context.Context, *http.Request) (*Snapshot, error) {
	part := func(q Query) func(context.Context, *http.Request) (*Snapshot, error) {
		return func(ctx context.Context, _ *http.Request) (*Snapshot, error) { return s.cfg.Backend.Snapshot(ctx, q) }
	}
	return map[string]func(context.Context, *http.Request) (*Snapshot, error){
		"accept": part(Query{Accept: true}), "rules": part(Query{Rules: true}), "settings": part(Query{Settings: true}), "debugs": part(Query{Debugs: true}),
		"pools": s.getPools, "peers": s.getPeers, "radius": s.getRADIUS, "counters": s.getCounters,
	}
}

// getPools shows all pools, or one with its leases.
func (s *Server) getPools(ctx context.Context, r *http.Request) (*Snapshot, error) {
	ref := r.FormValue("ref")
	snap, err := s.cfg.Backend.Snapshot(ctx, Query{Pools: true, Leases: ref != ""})
	if err != nil || ref == "" {
		return snap, err
	}
	var names []string
	for i := range snap.Pools {
		if snap.Pools[i].Name == ref {
			snap.Pools = snap.Pools[i : i+1]
			return snap, nil
		}
		names = append(names, snap.Pools[i].Name)
	}
	no := Errorf(CodeNotFound, "no pool %q is configured", ref)
	no.Nearest, no.Hint = nearestNames(ref, names), "see l2tpctl pool list"
	return nil, no
}

// getPeers shows all peers, or one.
func (s *Server) getPeers(ctx context.Context, r *http.Request) (*Snapshot, error) {
	ref := r.FormValue("ref")
	if ref != "" {
		if err := CheckAddress(ref); err != nil {
			return nil, err
		}
	}
	snap, err := s.cfg.Backend.Snapshot(ctx, Query{Peers: true})
	if err != nil || ref == "" {
		return snap, err
	}
	var names []string
	for i := range snap.Peers {
		if snap.Peers[i].Address == netip.MustParseAddr(ref).Unmap() {
			snap.Peers = snap.Peers[i : i+1]
			return snap, nil
		}
		names = append(names, snap.Peers[i].Address.String())
	}
	no := Errorf(CodeNotFound, "nothing is known of a peer %s", ref)
	no.Nearest, no.Hint = nearestNames(ref, names), "see l2tpctl peer list"
	return nil, no
}

// CheckAddress says what is wrong with a reference to a peer that no daemon could resolve; nil if nothing is. The error is *Error.
func CheckAddress(ref string) error {
	if _, err := netip.ParseAddr(ref); err != nil {
		no := Errorf(CodeInvalid, "%q is no address", ref)
		no.Hint = "a peer is named by its IP address, as l2tpctl peer list shows it"
		return no
	}
	return nil
}

func (s *Server) getRADIUS(ctx context.Context, _ *http.Request) (*Snapshot, error) {
	snap, err := s.cfg.Backend.Snapshot(ctx, Query{Status: true})
	if err != nil {
		return nil, err
	}
	out := &Snapshot{TakenAt: snap.TakenAt}
	if snap.Status != nil {
		out.RADIUS = snap.Status.RADIUS
	}
	return out, nil
}

// baseline is what counters were when an operator last asked to count anew. The daemon's own never go back: others read them, too.
type baseline struct {
	mu    sync.Mutex
	at    time.Time // zero: nobody has asked
	since Counters
}

// getCounters shows counters since the daemon has started, or with since=reset since an operator has asked to count anew.
func (s *Server) getCounters(ctx context.Context, r *http.Request) (*Snapshot, error) {
	snap, err := s.counters(ctx)
	if err != nil || r.FormValue("since") != "reset" {
		return snap, err
	}
	s.baseline.mu.Lock()
	defer s.baseline.mu.Unlock()
	if s.baseline.at.IsZero() {
		no := Errorf(CodeConflict, "the counters have not been reset since the daemon has started")
		no.Hint = "l2tpctl counters reset begins a new count; without --since-reset all is shown"
		return nil, no
	}
	now := snap.Counters.Since(&s.baseline.since)
	snap.Counters, snap.Since = &now, s.baseline.at
	return snap, nil
}

// counters are those of the daemon, with what the kernel has counted till now.
func (s *Server) counters(ctx context.Context) (*Snapshot, error) {
	snap, err := s.cfg.Backend.Snapshot(ctx, Query{Status: true, Stats: true})
	if err != nil {
		return nil, err
	}
	if snap.Status == nil {
		return nil, Errorf(CodeInternal, "the daemon tells nothing of itself")
	}
	return &Snapshot{TakenAt: snap.TakenAt, Since: snap.Status.StartedAt, Counters: &snap.Status.Counters}, nil
}

// act does what is asked: the server itself what is about its own baseline, the backend everything else.
func (s *Server) act(ctx context.Context, a Action) (*Result, error) {
	if a.Verb != VerbCountersReset {
		return s.cfg.Backend.Act(ctx, a)
	}
	snap, err := s.counters(ctx)
	if err != nil {
		return nil, err
	}
	s.baseline.mu.Lock()
	defer s.baseline.mu.Unlock()
	s.baseline.at, s.baseline.since = snap.TakenAt, *snap.Counters
	s.cfg.Log.InfoContext(ctx, "operator: counters are counted anew", slog.String("event", "operator"), slog.String("by", a.By))
	return &Result{Changed: true, Message: "counters --since-reset count from now on; all others go on"}, nil
}

// Accept returns the LNS's accept table.
func (c *Client) Accept(ctx context.Context) (*Snapshot, error) { return c.get(ctx, "accept", nil) }

// Rules returns the LAC's rules.
func (c *Client) Rules(ctx context.Context) (*Snapshot, error) { return c.get(ctx, "rules", nil) }

// Pools returns all pools, or by name one with its leases.
func (c *Client) Pools(ctx context.Context, name string) (*Snapshot, error) {
	return c.get(ctx, "pools", url.Values{"ref": {name}})
}

// Peers returns all peers, or that of one address.
func (c *Client) Peers(ctx context.Context, address string) (*Snapshot, error) {
	return c.get(ctx, "peers", url.Values{"ref": {address}})
}

// RADIUS returns what is known of RADIUS servers.
func (c *Client) RADIUS(ctx context.Context) (*Snapshot, error) { return c.get(ctx, "radius", nil) }

// Counters returns the counters, or only what has been counted since an operator has reset them.
func (c *Client) Counters(ctx context.Context, sinceReset bool) (*Snapshot, error) {
	q := url.Values{}
	if sinceReset {
		q.Set("since", "reset")
	}
	return c.get(ctx, "counters", q)
}

// Settings returns every key of the running configuration, or only those that are not the default.
func (c *Client) Settings(ctx context.Context, changed bool) (*Snapshot, error) {
	snap, err := c.get(ctx, "settings", nil)
	if err == nil && changed {
		snap.Settings = slices.DeleteFunc(snap.Settings, func(s Setting) bool { return !s.Changed })
	}
	return snap, err
}

// registerReaders adds the paths of readers.
func (s *Server) registerReaders(mux *http.ServeMux) {
	for path, get := range s.readers() {
		mux.HandleFunc("GET /"+APIVersion+"/"+path, s.reading(get))
	}
}
