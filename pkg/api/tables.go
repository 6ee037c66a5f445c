package api

import (
	"net/netip"
	"time"
)

// AcceptEntry is one row of the LNS's accept table (S130), and what it has let in.
type AcceptEntry struct {
	From           string `json:"from"`                // address, range, prefix or "any"
	HostName       string `json:"host_name,omitempty"` // empty: whatever the peer calls itself
	Template       string `json:"template"`
	Sequencing     string `json:"sequencing"` // always, on-request, startup
	PRE13          bool   `json:"pre13"`
	IgnoreWindow13 bool   `json:"pre13_ignores_window,omitempty"`
	ProxyLCP       string `json:"proxy_lcp"`  // accept, mismatch, renegotiate
	ProxyAuth      string `json:"proxy_auth"` // accept, rechallenge, renegotiate
	MaxTunnels     int    `json:"max_tunnels,omitempty"`
	MaxHalfOpen    int    `json:"max_half_open,omitempty"`
	MaxSessions    int    `json:"max_sessions,omitempty"`

	Tunnels       int    `json:"tunnels"`   // now, half-open ones included
	HalfOpen      int    `json:"half_open"` // now
	Sessions      int    `json:"sessions"`  // temporary ones, now
	TunnelsBegun  uint64 `json:"tunnels_begun"`
	SessionsBegun uint64 `json:"sessions_begun"`
}

// LACRule is one row of the LAC's table (S131), and how often it was followed.
type LACRule struct {
	Match          string     `json:"match"`           // realm, local, any-realm, all, unauthenticated
	Realm          string     `json:"realm,omitempty"` // of match realm
	Action         string     `json:"action"`          // tunnel, dns, radius, local, reject
	LNS            []RuleLNS  `json:"lns,omitempty"`   // of action tunnel
	Balance        string     `json:"balance,omitempty"`
	Prefix         string     `json:"prefix,omitempty"`      // of action dns
	Template       string     `json:"template,omitempty"`    // of action local
	RADIUSUser     string     `json:"radius_user,omitempty"` // of action radius: full, domain
	Secret         bool       `json:"secret"`                // one is configured
	StripRealm     bool       `json:"strip_realm,omitempty"`
	ProxyAuth      bool       `json:"proxy_auth"` // the LNS is told the login
	Sequencing     string     `json:"sequencing"`
	PRE13          bool       `json:"pre13"`
	IgnoreWindow13 bool       `json:"pre13_ignores_window,omitempty"`
	Assignment     string     `json:"assignment_id,omitempty"`
	TunnelSessions int        `json:"tunnel_sessions,omitempty"`
	Withhold       bool       `json:"withhold_calling_number,omitempty"`
	HideAVPs       bool       `json:"hide_avps,omitempty"`
	HostName       string     `json:"host_name,omitempty"`
	LocalAddress   netip.Addr `json:"local_address,omitzero"`
	RTOCap         int64      `json:"rto_cap_ms"` // milliseconds: the maximum timeout (S104)

	Hits uint64 `json:"hits"` // logins that it was found for
}

// RuleLNS is one of the LNSs of a LACRule.
type RuleLNS struct {
	Address     string `json:"address"`
	Port        uint16 `json:"port"`
	Preference  int    `json:"preference"` // lower first
	Weight      int    `json:"weight"`
	Secret      bool   `json:"secret"` // it has one of its own
	MaxSessions int    `json:"max_sessions,omitempty"`
	Withhold    bool   `json:"withhold_calling_number,omitempty"`
	HideAVPs    bool   `json:"hide_avps,omitempty"`
}

// AddressPool is a configured pool of addresses or prefixes (S161), and who has them.
type AddressPool struct {
	Name         string   `json:"name"`
	Ranges       []string `json:"ranges,omitempty"`
	Prefixes     []string `json:"prefixes,omitempty"`
	PrefixLength int      `json:"prefix_length,omitempty"` // of those that are given out of Prefixes
	Templates    []string `json:"templates,omitempty"`     // whose callers get them
	Used         uint64   `json:"used"`                    // by sessions, or kept for users, calls and the daemon itself
	Size         uint64   `json:"size"`
	Leases       []Lease  `json:"leases,omitzero"` // nil: not asked for
}

// Lease is what a session has of a pool.
type Lease struct {
	Pool    string `json:"pool"`
	Value   string `json:"value"`   // an address or a prefix
	Session string `json:"session"` // TUNNEL/SESSION, or line/NUMBER
	User    string `json:"user,omitempty"`
}

// Peer is one remote address, and all that is known of it.
type Peer struct {
	Address  netip.Addr `json:"address"`
	HostName string     `json:"host_name,omitempty"` // what it says of itself
	// Secret says whether the peer needs one when it opens a tunnel; Refused, if not empty, why that would be refused.
	Secret      string     `json:"secret"` // SecretSet or SecretNone
	Refused     string     `json:"refused,omitempty"`
	Tunnels     []uint16   `json:"tunnels,omitempty"` // ours, half-open ones included
	HalfOpen    int        `json:"half_open"`
	Sessions    int        `json:"sessions"`
	Calls       []string   `json:"calls,omitempty"`        // configured ones that go there
	LNS         bool       `json:"lns"`                    // subscribers' calls go there, or have gone
	LNSSessions int        `json:"lns_sessions,omitempty"` // subscribers' calls that it has
	LockedUntil time.Time  `json:"locked_until,omitzero"`  // it did not serve, and is left alone
	LastError   *PeerError `json:"last_error,omitempty"`
}

// PeerError is the latest thing that has gone wrong with a peer.
type PeerError struct {
	At   time.Time `json:"at,omitzero"` // zero: of a tunnel that is there still, at a time that nobody has noted
	Of   string    `json:"of"`          // "call branch", "tunnel 4711"
	Text string    `json:"text"`
}

// Setting is one key of the running configuration.
type Setting struct {
	Path    string `json:"path"`  // "server.checksum", "calls.branch.peer", "secrets[192.0.2.0/24].secret"
	Value   string `json:"value"` // as the file would have it; "***" stands for a secret, empty for nothing
	Default string `json:"default"`
	Changed bool   `json:"changed"` // it is not the default
	Reload  string `json:"reload"`  // when a change is in use: live, new-sessions, tunnel-restart, daemon-restart
}
