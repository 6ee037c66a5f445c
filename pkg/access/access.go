// Package access serves the places at which a LAC's subscribers arrive. What is common to all of them is here: who has come, and how the
// owner answers him; the places themselves are in the packages below.
package access

import (
	"fmt"
	"net"
	"os"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Caller is a subscriber who has asked to be let in. Exactly one of PPPoE and TTY is set.
type Caller struct {
	Access policy.Access // where he has come
	PPPoE  *PPPoE
	TTY    *TTY
	Line   *control.AccessLine // what the network says of his line; nil: nothing (P222)
}

// PPPoE is a subscriber whose PADR has been found good.
type PPPoE struct {
	Interface  string
	SessionID  uint16
	MAC        [6]byte
	Service    string // as he has asked for it
	MaxPayload uint16 // of PPP; 1492 unless he has asked for more, and may have it
}

// TTY is a subscriber on a line: a modem that has answered, or one that has been dialled.
type TTY struct {
	Device                      string
	File                        *os.File // the caller's, from now on
	Speed                       uint32   // bits per second; 0: not known
	CallingNumber, CalledNumber string
}

// Name is what the subscriber is called in the log before he has told his name.
func (c *Caller) Name() string {
	switch {
	case c.PPPoE != nil:
		return fmt.Sprintf("%s/%d %s", c.PPPoE.Interface, c.PPPoE.SessionID, c.Station())
	case c.TTY != nil:
		return c.TTY.Device
	}
	return c.Access.Name
}

// Station is where the call comes from, as calling numbers and RADIUS servers have it: the MAC address, or the number.
func (c *Caller) Station() string {
	switch {
	case c.PPPoE != nil:
		return net.HardwareAddr(c.PPPoE.MAC[:]).String()
	case c.TTY != nil:
		return c.TTY.CallingNumber
	}
	return ""
}

// Line is how the owner answers a subscriber. Its methods may sleep.
type Line interface {
	// Ready tells him that he may begin: what he sends from now on is heard.
	Ready()
	// HangUp ends the call, which may not have begun, and says why where that can be said. It is called once, last.
	HangUp(why string)
}

// Ring tells the owner of a subscriber, and gives what is to be called when he has gone by himself. Neither sleeps.
type Ring func(c Caller, l Line) (gone func(why string))
