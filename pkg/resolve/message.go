package resolve

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"codeberg.org/miekg/dns"
)

const (
	payload  = 1232 // octets that a server may send by UDP: no fragment on any path of IPv6's least MTU
	maxChain = 16   // aliases that lead to an address
	maxAddrs = 64   // of one family that are kept of an answer
	maxName  = 253  // octets of a name in text
	maxLabel = 63
)

// canonical gives the name as it is asked for and kept: lower case, without the last dot.
func canonical(name string) (string, error) {
	n := strings.ToLower(strings.TrimSuffix(name, "."))
	if len(n) == 0 || len(n) > maxName {
		return "", fmt.Errorf("look up %.80q: %w", name, ErrBadName)
	}
	for label := range strings.SplitSeq(n, ".") {
		if len(label) == 0 || len(label) > maxLabel || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("look up %.80q: %w", name, ErrBadName)
		}
	}
	return n, nil
}

// question is one message to a server: the addresses of one family of one name.
type question struct {
	name  string // canonical
	qtype uint16 // dns.TypeA or dns.TypeAAAA
	id    uint16
	plain bool // without EDNS, for a server that does not know it
}

// pack writes the question for the wire.
func (q question) pack() ([]byte, error) {
	m := dns.Msg{MsgHeader: dns.MsgHeader{ID: q.id, RecursionDesired: true}}
	if !q.plain {
		m.UDPSize = payload
	}
	hdr := dns.Header{Name: q.name + ".", Class: dns.ClassINET}
	m.Question = []dns.RR{&dns.A{Hdr: hdr}}
	if q.qtype == dns.TypeAAAA {
		m.Question = []dns.RR{&dns.AAAA{Hdr: hdr}}
	}
	if err := m.Pack(); err != nil {
		return nil, fmt.Errorf("write question: %w", err)
	}
	return m.Data, nil
}

// verdict is what a datagram turned out to be.
type verdict uint8

const (
	foreign   verdict = iota // no answer to the question: whoever sent it, go on waiting
	truncated                // the answer does not fit: ask by TCP
	noEDNS                   // the server does not understand EDNS: ask again without
	answered                 // see reply and error
)

// reply is what a server knows of a name. Without addresses, the name has none.
type reply struct {
	addrs []netip.Addr
	ttl   time.Duration // of addrs, or of their absence; -1: the server does not say how long they are absent
	said  string        // NXDOMAIN or NODATA, "" if there are addresses
}

// read takes a message for an answer to q. Nothing of msg is kept. An error says that the server is of no use.
func (q question) read(msg []byte) (reply, verdict, error) {
	m := dns.Msg{Data: msg, Options: dns.MsgOptionUnpackHeader}
	if m.Unpack() != nil || m.ID != q.id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return reply{}, foreign, nil
	}
	unsure := m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	if unsure && !q.plain && len(msg) == dns.MsgHeaderSize { // RFC 6891, 7: it may come without the question
		return reply{}, noEDNS, nil
	}
	m.Options = dns.MsgOptionUnpackQuestion
	if m.Unpack() != nil || len(m.Question) != 1 || !q.asks(m.Question[0]) {
		return reply{}, foreign, nil
	}
	switch {
	case unsure && !q.plain:
		return reply{}, noEDNS, nil
	case m.Truncated:
		return reply{}, truncated, nil
	}
	m.Options = dns.MsgOptionUnpack
	if err := m.Unpack(); err != nil {
		return reply{}, answered, errMalformed
	}
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		r, err := q.extract(&m)
		return r, answered, err
	default:
		text, ok := dns.RcodeToString[m.Rcode]
		if !ok {
			text = fmt.Sprintf("rcode %d", m.Rcode)
		}
		return reply{}, answered, rcodeError{text}
	}
}

// asks says whether rr is the question.
func (q question) asks(rr dns.RR) bool {
	return rr.Header().Class == dns.ClassINET && dns.RRToType(rr) == q.qtype && strings.EqualFold(rr.Header().Name, q.name+".")
}

// extract follows the aliases of an answer, as the server gives them, to the addresses.
func (q question) extract(m *dns.Msg) (reply, error) {
	aliases := map[string]*dns.CNAME{}
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && c.Hdr.Class == dns.ClassINET {
			if owner := strings.ToLower(c.Hdr.Name); aliases[owner] == nil {
				aliases[owner] = c
			}
		}
	}
	owner, least := q.name+".", ^uint32(0)
	for i := 0; aliases[owner] != nil; i++ {
		if i == maxChain {
			return reply{}, errChain
		}
		least = min(least, validTTL(aliases[owner].Hdr.TTL))
		owner = strings.ToLower(aliases[owner].Target)
	}
	var r reply
	if m.Rcode == dns.RcodeSuccess {
		for _, rr := range m.Answer {
			if a, ok := q.address(rr, owner); ok && len(r.addrs) < maxAddrs {
				r.addrs = append(r.addrs, a)
				least = min(least, validTTL(rr.Header().TTL))
			}
		}
	}
	if len(r.addrs) > 0 {
		r.ttl = time.Duration(least) * time.Second
		return r, nil
	}
	return absent(m)
}

// address gives the address in rr, if it is one of owner's of the family asked for.
func (q question) address(rr dns.RR, owner string) (netip.Addr, bool) {
	var a netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a = rr.Addr
	case *dns.AAAA:
		a = rr.Addr
	}
	h := rr.Header()
	if !a.IsValid() || a.IsUnspecified() || h.Class != dns.ClassINET || dns.RRToType(rr) != q.qtype || !strings.EqualFold(h.Name, owner) {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// absent tells the absence of addresses (RFC 2308, 2) from a server that knows nothing and names others.
func absent(m *dns.Msg) (reply, error) {
	r := reply{ttl: -1, said: "NODATA"}
	if m.Rcode == dns.RcodeNameError {
		r.said = "NXDOMAIN"
	}
	var others bool
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			r.ttl = time.Duration(min(validTTL(rr.Hdr.TTL), validTTL(rr.Minttl))) * time.Second
			return r, nil
		case *dns.NS:
			others = true
		}
	}
	if m.Rcode == dns.RcodeSuccess && !m.Authoritative && (others || !m.RecursionAvailable) {
		return reply{}, errReferral
	}
	return r, nil
}

// validTTL is the TTL in seconds: one with the highest bit set counts as 0 (RFC 2181, 8).
func validTTL(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}
