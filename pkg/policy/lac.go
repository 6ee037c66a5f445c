package policy

import (
	"net/netip"
	"strings"
	"time"
)

// Access is a place where subscribers arrive (S158, S159): exactly one of PPPoE and TTY is set.
type Access struct {
	Name     string // the interface or device, for show and log
	PPPoE    *PPPoE
	TTY      *TTY
	Template string // how PPP begins with them: authentication, timers, and what holds when a call stays here
}

// PPPoE is an interface with an access concentrator (P271-P273).
type PPPoE struct {
	Interface        string
	ServiceNames     []string // offered; empty: any is served
	ACName           string   // empty: the host name
	Delay            time.Duration
	MaxPayload       uint16 // largest PPP-Max-Payload that is granted (RFC 4638); 0 means 1492, which is none
	MaxSessions      int    // 0: no limit
	MaxSessionsOfMAC int    // 0: no limit
	Rate             int    // discovery packets a second in all; 0 means 1000
	RateOfMAC        int    // the same for one MAC address; 0 means 10
}

// TTY is a line with a modem or a null modem (S159).
type TTY struct {
	Device  string
	Speed   int      // bits per second; 0 means 115200
	Type    CallType // what an OCRQ must ask for to be placed here: CallAsync or CallISDN
	Names   []string // by which a Sub-Address selects this line; empty: any call of its type
	DialIn  bool
	DialOut bool
	From    []Range  // LNSs that may have it dial out
	Init    []string // chat script before the line waits for calls: "expect", "send", ...
	Answer  []string // chat script when it rings; empty: PPP begins as soon as carrier or data is there
	Dial    []string // chat script that places a call; \T in it is the number
	HangUp  []string // chat script after a call
}

// Match says whom a rule is for (S88-S92).
type Match uint8

// Matches, the most specific first (S93).
const (
	MatchRealm           Match = iota // users of one realm
	MatchLocal                        // users without a realm
	MatchAnyRealm                     // users with any realm
	MatchAll                          // every user who logs in
	MatchUnauthenticated              // sessions without a login; no other rule is for them
)

// Action says what becomes of a subscriber.
type Action uint8

// Actions.
const (
	ActionTunnel Action = iota // to one of the rule's LNSs (S94)
	ActionDNS                  // to the LNS that the realm's name leads to (S95)
	ActionRADIUS               // to the LNS that a RADIUS server names (S96)
	ActionLocal                // PPP ends here (S97)
	ActionReject               // nowhere
)

// Balance says who of several LNSs of one preference comes next.
type Balance uint8

// Balances.
const (
	BalanceRoundRobin  Balance = iota // in turn, by weight
	BalanceLeastFilled                // the one with the fewest sessions for its weight
)

// RADIUSUser says what a rule asks a RADIUS server about (S96, P235).
type RADIUSUser uint8

// RADIUS users.
const (
	RADIUSFull   RADIUSUser = iota // the user, with what he has shown
	RADIUSDomain                   // the realm, with the rule's password
)

// LNS is one row of a rule's list.
type LNS struct {
	Address     string // host name or address
	Port        uint16 // 0 means 1701
	Preference  int    // lower first
	Weight      int    // 0 means 1
	Secret      Secret // empty: the rule's
	MaxSessions int    // most at a time, over all of its tunnels; 0: no limit
	Withhold    bool   // the calling number is not told
	HideAVPs    bool   // names, numbers and login data are hidden; needs a secret
}

// Rule is one row of the LAC's table (S88-S107).
type Rule struct {
	Match          Match
	Realm          string // of MatchRealm, as FoldRealm gives it
	Action         Action
	LNS            []LNS // of ActionTunnel
	Balance        Balance
	Prefix         string // of ActionDNS: a label before the realm (S103)
	Template       string // of ActionLocal; empty: that of the access
	RADIUSUser     RADIUSUser
	RADIUSPassword Secret // of RADIUSDomain
	Secret         Secret // of the tunnel (S101)
	StripRealm     bool   // the LNS, or the login here, gets the name without its realm
	NoProxyAuth    bool   // the LNS is not told the login, and takes one itself
	Sequencing     Sequencing
	PRE13          bool
	IgnoreWindow13 bool
	Assignment     string // calls with different ones do not share a tunnel
	TunnelSessions int    // most in one tunnel, then another is made; 0: no limit
	Withhold       bool
	HideAVPs       bool
	HostName       string // Host Name AVP that the LNS is told; empty: the server's
	LocalAddr      netip.Addr
	Tunnel         Tunnel // S104, S107; IdleTimeout for tunnels without sessions
}

// LAC is what is done with subscribers.
type LAC struct {
	Access  []Access
	Rules   []Rule
	Lockout time.Duration // how long an LNS that did not answer is left alone; 0 means 60 s
	Attempt time.Duration // how long one LNS may take before the next is tried; 0 means 10 s
	Switch  bool          // calls that come by L2TP go by the rules, too (tunnel switching)
}

// SplitUser takes a user name apart: user@realm, by the last "@", or realm\user, by the first "\". Without either, or with nothing on the
// realm's side, there is no realm.
func SplitUser(name string) (user, realm string) {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[:i], FoldRealm(name[i+1:])
	}
	if before, after, ok := strings.Cut(name, `\`); ok {
		return after, FoldRealm(before)
	}
	return name, ""
}

// FoldRealm is the form in which realms are compared: lower case, without a dot at the end (S36).
func FoldRealm(realm string) string { return strings.ToLower(strings.TrimSuffix(realm, ".")) }

// ForUser finds the rule for a subscriber: of his realm, then any-realm or local, then all (S93). One who did not have to log in has rules
// of his own. nil: there is none.
func (l *LAC) ForUser(name string, loggedIn bool) *Rule {
	_, realm := SplitUser(name)
	var best *Rule
	for i := range l.Rules {
		if r := &l.Rules[i]; r.fits(realm, loggedIn) && (best == nil || r.Match < best.Match) {
			best = r
		}
	}
	return best
}

func (r *Rule) fits(realm string, loggedIn bool) bool {
	if !loggedIn {
		return r.Match == MatchUnauthenticated
	}
	switch r.Match {
	case MatchRealm:
		return realm != "" && r.Realm == realm
	case MatchLocal:
		return realm == ""
	case MatchAnyRealm:
		return realm != ""
	case MatchAll:
		return true
	case MatchUnauthenticated:
		return false
	}
	return false
}

// UserName is the name by which the rule has the user known to those who come next.
func (r *Rule) UserName(name string) string {
	if user, realm := SplitUser(name); r.StripRealm && realm != "" {
		return user
	}
	return name
}
