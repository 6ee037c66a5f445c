package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Source is a place where users are known (S155).
type Source uint8

// Sources.
const (
	SourceLocal Source = iota
	SourceRADIUS
)

// RADIUS is what is known of RADIUS servers (S180). Without servers there is none.
type RADIUS struct {
	Servers    []RADIUSServer
	DeadTime   time.Duration // how long a server that did not answer is asked last; 0 means 60 s
	Identifier string        // NAS-Identifier; empty: the host name
	Address    netip.Addr    // NAS-IP-Address or NAS-IPv6-Address; invalid: none
	Interim    time.Duration // between interim records where the server says nothing; 0: none
	Spool      string        // directory for accounting records that no server has taken yet; empty: memory alone
	SpoolSize  int64         // most of it, in octets; 0 means 64 MiB
	CoA        []CoAClient
	CoAListen  []netip.AddrPort // empty: none
}

// Accounts says that there is a server for accounting records.
func (r *RADIUS) Accounts() bool {
	return slices.ContainsFunc(r.Servers, func(s RADIUSServer) bool { return !s.NoAccounting })
}

// RADIUSServer is one of them.
type RADIUSServer struct {
	Address        string // host name or address
	Port           uint16 // 0 means 1812
	AccountingPort uint16 // 0 means 1813
	Secret         Secret
	Timeout        time.Duration // of one try; 0 means 3 s
	Tries          int           // 0 means 3
	Source         netip.Addr    // that requests come from; invalid: by route
	Unsigned       bool          // answers need no Message-Authenticator: an old server (P238)
	NoLogins       bool          // it is not asked about logins
	NoAccounting   bool          // it gets no accounting records
}

// CoAClient may send Disconnect- and CoA-Requests (P243).
type CoAClient struct {
	From   Range
	Secret Secret
	Signed bool // they must have a Message-Authenticator
}
