package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// ForOffer says what an offered call becomes (S63, S64):
//
//  1. the virtual call whose Match, or name, is the Called Number and whose peer is the source; else such a passive one;
//  2. without a Called Number, the only virtual call whose peer is the source;
//  3. an OCRQ with another Called Number: a line that dials it for this LNS;
//  4. a temporary call by the most specific accept entry;
//  5. nothing: CDN 5 for a role that we do not play or a line that we do not have (S44, S60), CDN 6 for a Called Number that
//     nobody here answers to, CDN 3 else (P57, P88).
//
// An OCRQ with a Called Number that is no call's, or with a Sub-Address, or for more speed than a virtual call has, asks for a
// line: it is never a temporary call (P202). Its Bearer Type says nothing: without a line to mean, some peers send digital.
func (p *Policy) ForOffer(o Offer, peers Peers) Verdict {
	incoming, outgoing := p.Roles()
	if o.Outgoing && !outgoing {
		return refuse(wire.CDNNoFacilitiesPerm, "outgoing call asked of a server without the LAC role")
	}
	if !o.Outgoing && !incoming {
		return refuse(wire.CDNNoFacilitiesPerm, "incoming call for a server without the LNS role")
	}
	c, several := p.callFor(o, peers)
	if c == nil && o.Outgoing {
		if lines := p.linesFor(o); len(lines) > 0 {
			return Verdict{Lines: lines}
		}
	}
	switch {
	case o.Outgoing && o.SubAddress != "":
		return refuse(wire.CDNNoFacilitiesPerm, "no line for an outgoing call with a sub-address")
	case o.Outgoing && o.MinimumBPS > VirtualSpeed:
		return refuse(wire.CDNNoFacilitiesPerm, fmt.Sprintf("no line of %d bit/s", o.MinimumBPS))
	}
	if c != nil {
		return Verdict{Call: c}
	}
	if o.Outgoing && o.CalledNumber != "" {
		return refuse(wire.CDNNoFacilitiesPerm, fmt.Sprintf("no call and no line answers to %q for %v", o.CalledNumber, o.Source))
	}
	if a := p.accept(o.Source, o.HostName); a != nil {
		return Verdict{Accept: a}
	}
	switch {
	case several:
		return refuse(wire.CDNInvalidDestination, fmt.Sprintf("several calls have the peer %v: the caller must name one (remote)", o.Source))
	case o.CalledNumber != "":
		return refuse(wire.CDNInvalidDestination, fmt.Sprintf("no call answers to %q for %v, and no accept entry", o.CalledNumber, o.Source))
	}
	return refuse(wire.CDNAdmin, fmt.Sprintf("no call and no accept entry for %v", o.Source))
}

func refuse(code uint16, reason string) Verdict {
	return Verdict{Refuse: true, Code: code, Reason: reason}
}

// callFor finds the configured call of an offer; several says that more than one would do and none is named.
func (p *Policy) callFor(o Offer, peers Peers) (call *Call, several bool) {
	var passive *Call
	var unnamed []*Call
	for _, key := range slices.Sorted(maps.Keys(p.Calls)) {
		c := p.Calls[key]
		if c.Type != CallVirtual {
			continue
		}
		named := o.CalledNumber != "" && strings.EqualFold(c.MatchName(), o.CalledNumber)
		switch {
		case c.Passive:
			if named && passive == nil {
				passive = c
			}
		case !hasPeer(key, c, o.Source, peers):
		case named:
			return c, false
		case o.CalledNumber == "":
			unnamed = append(unnamed, c)
		}
	}
	if len(unnamed) == 1 {
		return unnamed[0], false
	}
	return passive, len(unnamed) > 1
}

// linesFor finds the lines on which an outgoing call may be placed: of the kind that is asked for, of the name that travels as
// Sub-Address if there is one, fast enough, and for this LNS (S60, P202).
func (p *Policy) linesFor(o Offer) (lines []*Access) {
	if o.CalledNumber == "" {
		return nil
	}
	for i := range p.LAC.Access {
		a := &p.LAC.Access[i]
		t := a.TTY
		if t == nil || !t.DialOut || !t.mayDial(o.Source) || uint32(cmp.Or(t.Speed, defaultSpeed)) < o.MinimumBPS {
			continue
		}
		kind := uint32(wire.BearerAnalog)
		if t.Type == CallISDN {
			kind = wire.BearerDigital
		}
		named := slices.ContainsFunc(t.Names, func(n string) bool { return strings.EqualFold(n, o.SubAddress) })
		if named || (o.BearerType == 0 || o.BearerType&kind != 0) && (o.SubAddress == "" || len(t.Names) == 0) {
			lines = append(lines, a)
		}
	}
	return lines
}

// defaultSpeed is that of a line where the configuration says nothing, in bits per second.
const defaultSpeed = 115200

// mayDial says that an LNS may have the line dial out.
func (t *TTY) mayDial(src netip.Addr) bool {
	return slices.ContainsFunc(t.From, func(r Range) bool { return r.Contains(src) })
}

// dialsFor says that there is a line for an LNS.
func (p *Policy) dialsFor(src netip.Addr) bool {
	return slices.ContainsFunc(p.LAC.Access, func(a Access) bool { return a.TTY != nil && a.TTY.DialOut && a.TTY.mayDial(src) })
}

// MatchName is the name by which the peer's calls select c: Match, else the call's own name.
func (c *Call) MatchName() string {
	if c.Match != "" {
		return c.Match
	}
	return c.Name
}

// Bearer is the Bearer Type that c asks of a LAC by OCRQ (S60): digital for isdn, analog for async, 0 for virtual.
func (c *Call) Bearer() uint32 {
	switch c.Type {
	case CallVirtual:
		return 0
	case CallISDN:
		return wire.BearerDigital
	case CallAsync:
		return wire.BearerAnalog
	}
	return 0
}

// Framing is the Framing Type that c asks for (S60): asynchronous for async, synchronous else.
func (c *Call) Framing() uint32 {
	switch c.Type {
	case CallVirtual, CallISDN:
		return wire.FramingSync
	case CallAsync:
		return wire.FramingAsync
	}
	return wire.FramingSync
}
