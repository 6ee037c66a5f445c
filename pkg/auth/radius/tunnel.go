package radius

import (
	"cmp"
	"fmt"
	"slices"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2868"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Tunnel is one way to reach an LNS (RFC 2868): one group of attributes of the same tag.
type Tunnel struct {
	Tag            uint8
	Medium         uint32 // 1: IPv4, 2: IPv6, 0: not said
	ClientEndpoint string // our address; empty: any
	ServerEndpoint string // address or name of the LNS, never empty
	Password       policy.Secret
	PrivateGroup   string
	AssignmentID   string // sessions with the same one may share a tunnel; empty: they share the unnamed one (P229)
	ClientAuthID   string // our host name (P232)
	ServerAuthID   string // the LNS's host name, to be checked
	Preference     uint32 // lower first; NoPreference is last
}

// NoPreference is the preference of a tunnel that has none.
const NoPreference = 1 << 24

// group collects the attributes of one tag.
type group struct {
	Tunnel
	typ      uint32
	password []byte // hidden, salt and cipher
	seen     map[codec.Type]bool
}

// tunnels is what an answer says of tunnels.
type tunnels struct {
	groups [maxTag + 1]*group
	any    bool
	types  bool // a Tunnel-Type was there
	l2tp   bool // one of them is L2TP
}

// isTunnel says whether an attribute belongs to a tunnel.
func isTunnel(t codec.Type) bool {
	return t >= rfc2868.TunnelType_Type && t <= rfc2868.TunnelPassword_Type && t != 68 ||
		t >= rfc2868.TunnelPrivateGroupID_Type && t <= rfc2868.TunnelPreference_Type ||
		t == rfc2868.TunnelClientAuthID_Type || t == rfc2868.TunnelServerAuthID_Type
}

// add takes an attribute into the group of its tag. The first of its kind counts. It is false when the length is wrong.
func (s *tunnels) add(t codec.Type, b []byte) bool {
	s.any = true
	if len(b) == 0 {
		return false
	}
	tag, value := b[0], b[1:]
	text := t != rfc2868.TunnelType_Type && t != rfc2868.TunnelMediumType_Type && t != rfc2868.TunnelPreference_Type
	switch {
	case tag > maxTag && text && t != rfc2868.TunnelPassword_Type:
		tag, value = 0, b // no tag: the octet belongs to the text (P227)
	case tag > maxTag:
		tag = 0 // the octet is there but means nothing
	}
	var n uint32
	if !text {
		if len(value) != 3 {
			return false
		}
		n = uint32(value[0])<<16 | uint32(value[1])<<8 | uint32(value[2])
	}
	g := s.groups[tag]
	if g == nil {
		g = &group{Tunnel: Tunnel{Tag: tag, Preference: NoPreference}, seen: map[codec.Type]bool{}}
		s.groups[tag] = g
	}
	if g.seen[t] {
		return true
	}
	g.seen[t] = true
	switch t {
	case codec.TypeInvalid: // is never on the wire
	case rfc2868.TunnelType_Type:
		g.typ = n
		s.types, s.l2tp = true, s.l2tp || n == tunnelL2TP
	case rfc2868.TunnelMediumType_Type:
		g.Medium = n
	case rfc2868.TunnelPreference_Type:
		g.Preference = n
	case rfc2868.TunnelPassword_Type:
		g.password = value
	case rfc2868.TunnelClientEndpoint_Type:
		g.ClientEndpoint = readText(value)
	case rfc2868.TunnelServerEndpoint_Type:
		g.ServerEndpoint = readText(value)
	case rfc2868.TunnelPrivateGroupID_Type:
		g.PrivateGroup = readText(value)
	case rfc2868.TunnelAssignmentID_Type:
		g.AssignmentID = readText(value)
	case rfc2868.TunnelClientAuthID_Type:
		g.ClientAuthID = readText(value)
	case rfc2868.TunnelServerAuthID_Type:
		g.ServerAuthID = readText(value)
	}
	return true
}

// list gives the usable tunnels by preference, those of equal preference by tag, and at most that many. warn hears of the others.
func (s *tunnels) list(secret []byte, a authenticator, most int, warn func(string)) []Tunnel {
	var all []Tunnel
	for _, g := range s.groups {
		if g == nil {
			continue
		}
		leave := func(why string) { warn(fmt.Sprintf("tunnel with tag %d is left out: %s", g.Tag, why)) }
		switch {
		case g.typ != tunnelL2TP:
			leave(fmt.Sprintf("its Tunnel-Type is %d, not L2TP", g.typ))
			continue
		case g.Medium > mediumIPv6:
			leave(fmt.Sprintf("its Tunnel-Medium-Type is %d, neither IPv4 nor IPv6", g.Medium))
			continue
		case g.ServerEndpoint == "":
			leave("it has no Tunnel-Server-Endpoint") // P230
			continue
		}
		if g.seen[rfc2868.TunnelPassword_Type] {
			password, _, err := codec.TunnelPassword(g.password, secret, a[:])
			if err != nil {
				leave("its Tunnel-Password cannot be read")
				continue
			}
			g.Password = policy.NewSecret(password)
		}
		all = append(all, g.Tunnel)
	}
	slices.SortStableFunc(all, func(x, y Tunnel) int { return cmp.Compare(x.Preference, y.Preference) })
	if len(all) > most {
		warn(fmt.Sprintf("of %d tunnels the first %d are taken", len(all), most))
		all = all[:most]
	}
	return all
}
