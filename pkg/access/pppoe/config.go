package pppoe

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/l2tpd/l2tpd/pkg/observe"
)

// Rate is how often something may happen.
type Rate struct {
	PerSecond int
	Burst     int // at once, after a silence
}

// Rates limit what stations may ask.
type Rates struct {
	PADI        Rate // answered on the interface; 0: 500 a second
	PADR        Rate // sessions offered on the interface; 0: 500 a second
	StationPADI Rate // of one station; 0: 2 a second, 10 at once
	StationPADR Rate // of one station; 0: 2 a second, 10 at once
}

// Config is what a Listener or an AC is made of.
type Config struct {
	Interface string // its name, also that of a VLAN device
	// ServiceNames are those that are served. A client that asks for none is served too. Empty: any that is asked for is served.
	ServiceNames []string
	ACName       string        // AC-Name of PADOs; Listen takes the host name for an empty one
	Delay        time.Duration // of PADOs, so that another concentrator goes before; at most 10 s
	// MaxSessions is how many sessions the interface may have; 0: 32,767.
	MaxSessions int
	// MaxSessionsPerMAC is how many of them one client may have; 0: 8. With 1, a client that lost power waits until the owner has
	// found its old session dead.
	MaxSessionsPerMAC int
	Rates             Rates
	// MaxPayload is the largest PPP payload that a client may ask for by PPP-Max-Payload, which the interface's MTU bounds too; 0: no
	// bound of ours, 1492: none may (RFC 4638).
	MaxPayload int
	// CookieKey makes AC-Cookies. It is secret, and best of all random; Listen makes one of its own for a zero one.
	CookieKey [32]byte

	// These are a Listener's.
	Handler Handler
	Logger  *slog.Logger     // nil: silent
	Limiter *observe.Limiter // of lines about what strangers cause; nil: one of its own
}

const (
	maxDelay    = 10 * time.Second
	maxName     = 255
	maxAllNames = 1024 // of a PADO, so that there is room for what a client wants back
)

// complete gives the configuration with its defaults.
func (c Config) complete() (Config, error) {
	c.MaxSessions = cmp.Or(c.MaxSessions, maxSessionID/2)
	c.MaxSessionsPerMAC = cmp.Or(c.MaxSessionsPerMAC, 8)
	c.MaxPayload = cmp.Or(c.MaxPayload, 0xffff)
	c.Rates.PADI = c.Rates.PADI.or(Rate{500, 500})
	c.Rates.PADR = c.Rates.PADR.or(Rate{500, 500})
	c.Rates.StationPADI = c.Rates.StationPADI.or(Rate{2, 10})
	c.Rates.StationPADR = c.Rates.StationPADR.or(Rate{2, 10})
	return c, c.check()
}

func (c Config) check() error {
	total := 0
	for i, name := range append([]string{c.ACName}, c.ServiceNames...) {
		total += tagHeader + len(name)
		switch {
		case name == "":
			return fmt.Errorf("PPPoE on %s: a name is empty", c.Interface)
		case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0):
			return fmt.Errorf("PPPoE on %s: name %q is longer than %d octets or not UTF-8", c.Interface, name, maxName)
		case i > 1 && slices.Contains(c.ServiceNames[:i-1], name):
			return fmt.Errorf("PPPoE on %s: service name %q is there twice", c.Interface, name)
		}
	}
	switch {
	case total > maxAllNames:
		return fmt.Errorf("PPPoE on %s: all names take %d octets, more than %d", c.Interface, total, maxAllNames)
	case c.Delay < 0 || c.Delay > maxDelay:
		return fmt.Errorf("PPPoE on %s: delay %v is not 0 to %v", c.Interface, c.Delay, maxDelay)
	case c.MaxSessions < 1 || c.MaxSessions > maxSessionID:
		return fmt.Errorf("PPPoE on %s: limit of %d sessions is not 1 to %d", c.Interface, c.MaxSessions, maxSessionID)
	case c.MaxSessionsPerMAC < 1:
		return fmt.Errorf("PPPoE on %s: limit of %d sessions for one client", c.Interface, c.MaxSessionsPerMAC)
	case c.MaxPayload < defaultPayload || c.MaxPayload > 0xffff:
		return fmt.Errorf("PPPoE on %s: payload %d is not %d to 65535", c.Interface, c.MaxPayload, defaultPayload)
	}
	for _, r := range []Rate{c.Rates.PADI, c.Rates.PADR, c.Rates.StationPADI, c.Rates.StationPADR} {
		if r.PerSecond < 1 || r.Burst < 1 {
			return fmt.Errorf("PPPoE on %s: rate of %d a second, %d at once", c.Interface, r.PerSecond, r.Burst)
		}
	}
	if c.CookieKey == [32]byte{} {
		return errors.New("PPPoE: no key for cookies")
	}
	return nil
}

func (r Rate) or(d Rate) Rate {
	if r == (Rate{}) {
		return d
	}
	r.Burst = cmp.Or(r.Burst, r.PerSecond)
	return r
}
