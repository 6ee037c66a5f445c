package pppd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Auth is a way to authenticate.
type Auth uint8

// Ways to authenticate. pppd prefers the later ones, whatever their order in a Spec.
const (
	AuthPAP Auth = iota
	AuthCHAP
	AuthMSCHAPv2
)

// String gives the name of the protocol.
func (a Auth) String() string {
	switch a {
	case AuthPAP:
		return "PAP"
	case AuthCHAP:
		return "CHAP"
	case AuthMSCHAPv2:
		return "MS-CHAPv2"
	}
	return fmt.Sprintf("Auth(%d)", uint8(a))
}

// User may log in.
type User struct {
	Name     string
	Password policy.Secret
	IPv4     netip.Addr // the only address that the user may have, ahead of Spec.Peer; invalid: Spec.Peer
}

// Spec asks for one pppd. Times are rounded up to whole seconds.
type Spec struct {
	Name   string   // of the session, for the log and for ps: "12/345"
	Socket *os.File // the session's connected PPPoX socket; it is Start's from the call on, whatever comes of it

	Interface string // wanted name, at most 15 octets; a "%d" in it stands for the first free number; empty: pppd's pppN
	MTU       int    // bound of what the interface sends, 128..16384; 0: what the peer receives
	MRU       int    // what we ask to receive, 128..16384; 0 means 1500

	HostName string // our name in challenges; empty: the machine's
	Auth     []Auth // what of these the peer must show; empty: nothing
	Users    []User // who may log in; looked at with Auth only
	Answer   []Auth // what of these we show if the peer demands it; needs User and Password
	User     string
	Password policy.Secret

	IPv4    ppp.IPv4Mode // IPv4Unnumbered needs Local
	Local   netip.Addr
	Peer    netip.Addr   // what the peer gets; invalid: with IPv4Own and Users nothing but a user's own, else what it asks for
	DNS     []netip.Addr // offered to the peer, at most two
	NBNS    []netip.Addr
	WantDNS bool // ask the peer for DNS servers

	IPv6       bool
	IPv6ID     uint64 // our interface identifier; 0: pppd chooses
	PeerIPv6ID uint64 // the peer's; 0: what it asks for

	RequireMPPE bool // 128 bits, stateless; needs AuthMSCHAPv2 in one direction and nothing else in either

	EchoInterval   time.Duration // 0: no LCP echo
	EchoFailures   int           // 0 means 3
	IdleTimeout    time.Duration // 0: none
	SessionTimeout time.Duration // 0: none
	Rechallenge    time.Duration // 0: none; CHAP only
	Restart        time.Duration // of every protocol; 0 means 3 s
	MaxConfigure   int           // 0 means 10
	MaxTerminate   int           // 0 means 2
	MaxFailure     int           // 0 means 5

	// Options are further options of pppd, each with its arguments, later ones ahead of all the above: "lcp-echo-adaptive".
	// CheckOption says which ones may be.
	Options []string
}

// Bounds of pppd: MAXNAMELEN, MAXSECRETLEN with their closing zeros, MINMRU, MAXMRU.
const (
	maxName    = 255
	maxSecret  = 255
	minPacket  = 128
	maxPacket  = 16384
	maxOptions = 100
)

// validate says what pppd could not be asked for.
func (s *Spec) validate() error {
	switch {
	case s.Socket == nil:
		return errors.New("no socket")
	case s.Name == "":
		return errors.New("no name")
	case s.MTU != 0 && (s.MTU < minPacket || s.MTU > maxPacket):
		return fmt.Errorf("mtu %d: pppd takes %d..%d", s.MTU, minPacket, maxPacket)
	case s.MRU != 0 && (s.MRU < minPacket || s.MRU > maxPacket):
		return fmt.Errorf("mru %d: pppd takes %d..%d", s.MRU, minPacket, maxPacket)
	case len(s.Options) > maxOptions:
		return fmt.Errorf("%d further options: at most %d", len(s.Options), maxOptions)
	}
	err := errors.Join(s.validateInterface(), s.validateAuth(), s.validateAddresses())
	for _, o := range s.Options {
		err = errors.Join(err, CheckOption(o))
	}
	return err
}

// validateInterface knows the kernel's rules for names, because pppd goes on with any.
func (s *Spec) validateInterface() error {
	name := strings.Replace(s.Interface, "%d", "0", 1)
	if s.Interface != "" && (len(name) > 15 || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || r == '/' || r == ':' || r == '%'
	})) {
		return fmt.Errorf("interface name %q", s.Interface)
	}
	return nil
}

func (s *Spec) validateAuth() error {
	if len(s.Answer) > 0 {
		if err := checkLogin(s.User, s.Password.Reveal()); err != nil {
			return fmt.Errorf("our login: %w", err)
		}
	}
	if len(s.HostName) > maxName || strings.ContainsRune(s.HostName, 0) {
		return fmt.Errorf("host name %q", s.HostName)
	}
	if len(s.Auth) > 0 && !slices.ContainsFunc(s.Users, func(u User) bool { return s.checkUser(u) == nil }) {
		return errors.New("the peer must log in, but there is no user who could")
	}
	if both := append(slices.Clone(s.Auth), s.Answer...); s.RequireMPPE &&
		(len(both) == 0 || len(s.Auth) > 0 && len(s.Answer) > 0 || slices.ContainsFunc(both, func(a Auth) bool { return a != AuthMSCHAPv2 })) {
		return errors.New("MPPE takes its keys from MS-CHAPv2: nothing else may be demanded or answered, and in one direction only")
	}
	return nil
}

func (s *Spec) validateAddresses() error {
	for _, a := range append(append([]netip.Addr{s.Local, s.Peer}, s.DNS...), s.NBNS...) {
		if a.IsValid() && !a.Is4() {
			return fmt.Errorf("address %v: not IPv4", a)
		}
	}
	switch {
	case len(s.DNS) > 2 || len(s.NBNS) > 2:
		return errors.New("more than two DNS or NBNS servers")
	case s.IPv4 == ppp.IPv4Own && !s.Local.IsValid():
		return errors.New("no local IPv4 address")
	case s.IPv4 == ppp.IPv4Unnumbered && !s.Local.IsValid():
		return errors.New("pppd needs an IPv4 address of ours on an unnumbered link, too")
	case s.IPv4 == ppp.IPv4Off && !s.IPv6:
		return errors.New("neither IPv4 nor IPv6")
	}
	return nil
}

// checkUser says why pppd cannot let a user in.
func (s *Spec) checkUser(u User) error {
	password := u.Password.Reveal()
	if err := checkLogin(u.Name, password); err != nil {
		return err
	}
	// An asterisk is everybody; names of files and of the machine's own accounts are not passwords to pppd.
	switch {
	case u.Name == "*":
		return errors.New("pppd takes the name for everybody's")
	case strings.HasPrefix(string(password), "@/") || string(password) == "@login":
		return errors.New("pppd takes the password for a reference to another one")
	case u.IPv4.IsValid() && !u.IPv4.Is4():
		return fmt.Errorf("address %v: not IPv4", u.IPv4)
	}
	return nil
}

// checkLogin says which names and passwords pppd cannot hold. An empty password would let anybody in.
func checkLogin(name string, password []byte) error {
	switch {
	case name == "" || len(password) == 0:
		return errors.New("no name or no password")
	case len(visible(name)) > maxName || len(visible(string(password))) > maxSecret:
		return errors.New("the name or the password is too long for pppd")
	case strings.ContainsRune(name, 0) || strings.ContainsRune(string(password), 0):
		return errors.New("pppd cannot have a zero octet in a name or password")
	}
	return nil
}
