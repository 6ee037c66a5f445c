package pppoe

import "errors"

// Drop is why a packet had no answer (P280).
type Drop uint8

// The reasons. Up to DropTags they say that the packet is malformed.
const (
	DropShort     Drop = iota // shorter than its headers
	DropEtherType             // another ethertype
	DropVersion               // version and type are not 1
	DropLength                // says that it is longer than it is
	DropTag                   // a tag is longer than the packet
	DropCode                  // unknown code
	DropSource                // from a group address, or from none
	DropTags                  // what must be there once is not, or a value or session id cannot be

	DropElsewhere     // for another station
	DropDirection     // what only concentrators send
	DropService       // PADI for a service that is not ours: silence is the answer (RFC 2516, 5.1)
	DropCookie        // PADR without an AC-Cookie that we gave that station within the last 30 to 60 s
	DropStation       // more than one station may ask
	DropRate          // more than the interface's stations may ask
	DropDelayed       // too many PADOs are waiting for their time
	DropOversize      // the answer would not fit in a frame
	DropUndecided     // PADR repeated before the owner has decided, or after the end
	DropNoSession     // PADT for no session, or from another station than the session's
	DropDown          // the interface is not up
	drops         int = iota
)

// String names the reason.
func (d Drop) String() string {
	switch d {
	case DropShort:
		return "short"
	case DropEtherType:
		return "ethertype"
	case DropVersion:
		return "version"
	case DropLength:
		return "length"
	case DropTag:
		return "tag-length"
	case DropCode:
		return "code"
	case DropSource:
		return "source"
	case DropTags:
		return "tags"
	case DropElsewhere:
		return "elsewhere"
	case DropDirection:
		return "direction"
	case DropService:
		return "service"
	case DropCookie:
		return "cookie"
	case DropStation:
		return "station-rate"
	case DropRate:
		return "rate"
	case DropDelayed:
		return "delayed"
	case DropOversize:
		return "oversize"
	case DropUndecided:
		return "undecided"
	case DropNoSession:
		return "no-session"
	case DropDown:
		return "down"
	}
	return "unknown"
}

// Malformed says that the packet itself is wrong.
func (d Drop) Malformed() bool { return d <= DropTags }

// dropOf gives the reason for an error of Parse.
func dropOf(err error) Drop {
	for d, e := range [...]error{
		DropShort: errShort, DropEtherType: errEtherType, DropVersion: errVersion, DropLength: errLength,
		DropTag: errTag, DropCode: errCode, DropSource: errSource,
	} {
		if errors.Is(err, e) {
			return Drop(d)
		}
	}
	return DropTags
}

// PacketCounts counts packets by their code.
type PacketCounts struct{ PADI, PADO, PADR, PADS, PADT uint64 }

func (c *PacketCounts) add(code Code) {
	switch code {
	case CodePADI:
		c.PADI++
	case CodePADO:
		c.PADO++
	case CodePADR:
		c.PADR++
	case CodePADS:
		c.PADS++
	case CodePADT:
		c.PADT++
	}
}

// Counters count since the beginning. Every packet that is not answered is in Dropped.
type Counters struct {
	In  PacketCounts // those that Parse took
	Out PacketCounts // those that were due

	Dropped [drops]uint64 // by Drop

	Offered        uint64 // sessions that the owner was asked about
	Repeated       uint64 // PADRs answered again with the PADS of their session
	BadLines       uint64 // access-line tags that could not be read: their sessions were offered without
	RefusedService uint64 // PADS with Service-Name-Error for a PADR without exactly one service of ours
	RefusedLimit   uint64 // PADS with AC-System-Error because of a limit on sessions
	RefusedOwner   uint64 // PADS with an error by the owner's decision
	Unsent         uint64 // what the kernel did not take
	Overflowed     uint64 // frames that found no room in the socket

	Sessions int // how many there are, offered, up or ended and not yet freed
}

// Malformed is how many packets were malformed, for whatever reason.
func (c *Counters) Malformed() (n uint64) {
	for d, count := range c.Dropped {
		if Drop(d).Malformed() {
			n += count
		}
	}
	return n
}

// Reasons gives Dropped by the names of the reasons, without those that did not happen.
func (c *Counters) Reasons() map[string]uint64 {
	all := map[string]uint64{}
	for d, count := range c.Dropped {
		if count > 0 {
			all[Drop(d).String()] = count
		}
	}
	return all
}
