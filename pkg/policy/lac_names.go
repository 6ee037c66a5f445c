package policy

import "fmt"

// String gives the word of the configuration: realm, local, any-realm, all, unauthenticated.
func (m Match) String() string {
	switch m {
	case MatchRealm:
		return "realm"
	case MatchLocal:
		return "local"
	case MatchAnyRealm:
		return "any-realm"
	case MatchAll:
		return "all"
	case MatchUnauthenticated:
		return "unauthenticated"
	}
	return fmt.Sprintf("Match(%d)", uint8(m))
}

// String gives the word of the configuration: tunnel, dns, radius, local, reject.
func (a Action) String() string {
	switch a {
	case ActionTunnel:
		return "tunnel"
	case ActionDNS:
		return "dns"
	case ActionRADIUS:
		return "radius"
	case ActionLocal:
		return "local"
	case ActionReject:
		return "reject"
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Tunnels says that the action leads to an LNS.
func (a Action) Tunnels() bool { return a == ActionTunnel || a == ActionDNS || a == ActionRADIUS }

// String gives the word of the configuration: round-robin, least-filled.
func (b Balance) String() string {
	switch b {
	case BalanceRoundRobin:
		return "round-robin"
	case BalanceLeastFilled:
		return "least-filled"
	}
	return fmt.Sprintf("Balance(%d)", uint8(b))
}

// String gives the word of the configuration: full, domain.
func (u RADIUSUser) String() string {
	switch u {
	case RADIUSFull:
		return "full"
	case RADIUSDomain:
		return "domain"
	}
	return fmt.Sprintf("RADIUSUser(%d)", uint8(u))
}

// String gives the word of the configuration: local, radius.
func (s Source) String() string {
	switch s {
	case SourceLocal:
		return "local"
	case SourceRADIUS:
		return "radius"
	}
	return fmt.Sprintf("Source(%d)", uint8(s))
}

// MarshalText gives String.
func (m Match) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// MarshalText gives String.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// MarshalText gives String.
func (b Balance) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// MarshalText gives String.
func (u RADIUSUser) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText gives String.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
