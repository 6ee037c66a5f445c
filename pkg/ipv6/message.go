package ipv6

import (
	"encoding/binary"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

const (
	messageBurst = 10 // an exchange has two messages; routers repeat them, and begin anew
	messageEvery = 500 * time.Millisecond

	messageHeader = 4 // type and transaction
	optionHeader  = 4
	minDUID       = 3 // RFC 8415, 11.1
	maxDUID       = 130
	maxIAs        = 8 // identity associations that a message may have
)

// envelope is what a message tells before it is parsed. Its slices point into the message.
type envelope struct {
	kind           dhcpv6.MessageType
	client, server []byte // DUIDs; nil: none
	ias            int
}

// envelopeOf finds the envelope of a message, and false if it has none. It allocates nothing.
func envelopeOf(b []byte) (e envelope, ok bool) {
	if len(b) < messageHeader {
		return e, false
	}
	e.kind = dhcpv6.MessageType(b[0])
	for b = b[messageHeader:]; len(b) > 0; {
		if len(b) < optionHeader {
			return e, false
		}
		code, size := dhcpv6.OptionCode(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
		b = b[optionHeader:]
		if size > len(b) {
			return e, false
		}
		body := b[:size]
		b = b[size:]
		if code == dhcpv6.OptionClientID || code == dhcpv6.OptionServerID {
			id := &e.client
			if code == dhcpv6.OptionServerID {
				id = &e.server
			}
			if *id != nil || size < minDUID || size > maxDUID {
				return e, false
			}
			*id = body
		}
		if code == dhcpv6.OptionIANA || code == dhcpv6.OptionIATA || code == dhcpv6.OptionIAPD {
			e.ias++
		}
	}
	return e, e.ias <= maxIAs
}

// presence is whether a message has an option.
type presence uint8

const (
	optional presence = iota
	required
	forbidden
)

func (p presence) allows(there bool) bool {
	return p == optional || there == (p == required)
}

// rule is what a server does with messages of one type, and what those must have (RFC 8415, 16).
type rule struct {
	client, server, ias presence
	answer              func(*link, *request) *dhcpv6.Message // nil: there is no answer
}

// rules are those of the messages that clients send; a server drops all others.
var rules = map[dhcpv6.MessageType]rule{
	dhcpv6.MessageTypeSolicit:            {required, forbidden, optional, (*link).solicit},
	dhcpv6.MessageTypeRequest:            {required, required, optional, (*link).request},
	dhcpv6.MessageTypeConfirm:            {required, forbidden, optional, (*link).confirm},
	dhcpv6.MessageTypeRenew:              {required, required, optional, (*link).renew},
	dhcpv6.MessageTypeRebind:             {required, forbidden, optional, (*link).renew},
	dhcpv6.MessageTypeRelease:            {required, required, optional, (*link).giveBack},
	dhcpv6.MessageTypeDecline:            {required, required, optional, (*link).decline},
	dhcpv6.MessageTypeInformationRequest: {optional, optional, forbidden, (*link).inform},
}

// request is a message that is to be answered.
type request struct {
	envelope
	datagram
	now     Time
	options dhcpv6.MessageOptions
	commits bool // the answer gives the prefix
}

// parse decodes the options of a message that matter. The others stay as they are: a mistake in one of them is none of ours,
// and a DUID has no structure for us (RFC 8415, 11).
func parse(data []byte) (o dhcpv6.MessageOptions, err error) {
	err = o.FromBytesWithParser(data[messageHeader:], func(code dhcpv6.OptionCode, body []byte) (dhcpv6.Option, error) {
		if code == dhcpv6.OptionIANA || code == dhcpv6.OptionIAPD || code == dhcpv6.OptionORO || code == dhcpv6.OptionRapidCommit {
			return dhcpv6.ParseOption(code, body)
		}
		return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: body}, nil
	})
	return o, err
}

// message takes what came on the DHCPv6 socket and gives the answer, if there is one to be sent now.
//
// Only what is addressed to all servers is answered: no client has leave to send to our own address, and none should try
// (RFC 8415, 18.4; RFC 9915 has done away with it).
func (c *core) message(now Time, d datagram) (packet, bool) {
	l := c.links[d.index]
	if l == nil {
		c.counts.Unserved++
		return packet{}, false
	}
	e, ok := envelopeOf(d.data)
	rule := rules[e.kind]
	switch {
	case !ok, rule.answer == nil, d.to != allServers, !d.from.IsLinkLocalUnicast(),
		!rule.client.allows(e.client != nil), !rule.server.allows(e.server != nil), !rule.ias.allows(e.ias > 0):
		c.counts.Malformed++
		return packet{}, false
	case e.server != nil && string(e.server) != string(c.id):
		c.counts.OtherServer++
		return packet{}, false
	case !l.messages.take(now, messageBurst, messageEvery):
		c.counts.Limited++
		return packet{}, false
	}
	options, err := parse(d.data)
	if err != nil {
		c.counts.Malformed++
		return packet{}, false
	}
	r := &request{envelope: e, datagram: d, now: now, options: options}
	c.counts.Messages++
	m := rule.answer(l, r)
	if m == nil {
		return packet{}, false
	}
	p := l.packet(d.from, m.ToBytes())
	if r.commits && l.holder.waits(p) {
		return packet{}, false
	}
	c.counts.Replies++
	return p, true
}
