package ipv6

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// atOnce is the preference of a server whose Advertise ends the client's waiting for others: there is no other on the link.
const atOnce = 255

// reply begins the answer to a message.
func (l *link) reply(r *request, kind dhcpv6.MessageType) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID(r.data[1:messageHeader])}
	if r.client != nil {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: r.client})
	}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: l.core.id})
	return m
}

// solicit answers a Solicit: with an Advertise, or, where the client asks for it and can be given a prefix, with a Reply at once.
func (l *link) solicit(r *request) *dhcpv6.Message {
	rapid := r.options.GetOne(dhcpv6.OptionRapidCommit) != nil
	if rapid && l.lease.Delegated.IsValid() && len(r.options.IAPD()) > 0 {
		m := l.reply(r, dhcpv6.MessageTypeReply)
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
		return l.assign(m, r, true)
	}
	m := l.reply(r, dhcpv6.MessageTypeAdvertise)
	m.AddOption(dhcpv6.OptPreference(atOnce))
	return l.assign(m, r, false)
}

func (l *link) request(r *request) *dhcpv6.Message {
	return l.assign(l.reply(r, dhcpv6.MessageTypeReply), r, true)
}

// assign gives the prefix to one of the client's identity associations, or, unless commit, says that it would.
func (l *link) assign(m *dhcpv6.Message, r *request, commit bool) *dhcpv6.Message {
	l.refuse(m, r, iana.StatusNoAddrsAvail, "addresses come by router advertisement")
	associations := r.options.IAPD()
	chosen := l.holder.choose(r, associations)
	for i, ia := range associations {
		if i != chosen || !l.lease.Delegated.IsValid() {
			m.AddOption(association(ia, status(iana.StatusNoPrefixAvail, "no prefix for this association")))
			continue
		}
		if commit {
			l.register(r, ia.IaId)
		}
		m.AddOption(l.grant(ia))
	}
	return l.tellDNS(m, r)
}

// renew answers Renew and Rebind.
func (l *link) renew(r *request) *dhcpv6.Message {
	m := l.reply(r, dhcpv6.MessageTypeReply)
	l.refuse(m, r, iana.StatusNoBinding, "not registered")
	associations := r.options.IAPD()
	chosen := l.holder.choose(r, associations)
	for i, ia := range associations {
		m.AddOption(l.renewal(r, ia, i == chosen))
	}
	return l.tellDNS(m, r)
}

// renewal answers one association of Renew and Rebind. When nobody is registered the client is: it had the prefix from a daemon
// that ran before this one. It withdraws the prefixes that are not, or no longer, the link's.
func (l *link) renewal(r *request, ia *dhcpv6.OptIAPD, chosen bool) *dhcpv6.OptIAPD {
	answer := association(ia)
	if l.lease.Delegated.IsValid() {
		if !chosen || l.holder.has() && !l.holder.is(r, ia.IaId) {
			return association(ia, status(iana.StatusNoBinding, "not registered"))
		}
		l.register(r, ia.IaId)
		answer = l.grant(ia)
	}
	for _, p := range ia.Options.Prefixes() {
		if p.Prefix != nil && prefixOf(p.Prefix) != l.lease.Delegated {
			answer.Options.Add(&dhcpv6.OptIAPrefix{Prefix: p.Prefix})
		}
	}
	if len(answer.Options.Options) == 0 {
		return association(ia, status(iana.StatusNoBinding, "not registered"))
	}
	return answer
}

// giveBack answers a Release.
func (l *link) giveBack(r *request) *dhcpv6.Message {
	m := l.reply(r, dhcpv6.MessageTypeReply)
	m.AddOption(status(iana.StatusSuccess, ""))
	l.refuse(m, r, iana.StatusNoBinding, "not registered")
	for _, ia := range r.options.IAPD() {
		if !l.holder.is(r, ia.IaId) {
			m.AddOption(association(ia, status(iana.StatusNoBinding, "not registered")))
			continue
		}
		l.release(Released)
		l.core.due.arm(l)
	}
	return m
}

// decline answers a Decline, which is about addresses, of which none was ever given.
func (l *link) decline(r *request) *dhcpv6.Message {
	m := l.reply(r, dhcpv6.MessageTypeReply)
	m.AddOption(status(iana.StatusSuccess, ""))
	l.refuse(m, r, iana.StatusNoBinding, "not registered")
	return m
}

// confirm answers a Confirm: whether addresses fit the link. One without addresses is not answered (RFC 8415, 18.3.3).
func (l *link) confirm(r *request) *dhcpv6.Message {
	fit, any := true, false
	for _, ia := range r.options.IANA() {
		for _, a := range ia.Options.Addresses() {
			addr, ok := netip.AddrFromSlice(a.IPv6Addr)
			any = true
			fit = fit && ok && l.lease.Link.IsValid() && l.lease.Link.Contains(addr)
		}
	}
	if !any {
		return nil
	}
	m := l.reply(r, dhcpv6.MessageTypeReply)
	if fit {
		m.AddOption(status(iana.StatusSuccess, ""))
	} else {
		m.AddOption(status(iana.StatusNotOnLink, "not of this link"))
	}
	return m
}

func (l *link) inform(r *request) *dhcpv6.Message {
	return l.tellDNS(l.reply(r, dhcpv6.MessageTypeReply), r)
}

// tellDNS adds the DNS servers, if the client wants to know them.
func (l *link) tellDNS(m *dhcpv6.Message, r *request) *dhcpv6.Message {
	asked := r.options.RequestedOptions()
	if len(l.lease.DNS) == 0 || len(asked) > 0 && !asked.Contains(dhcpv6.OptionDNSRecursiveNameServer) {
		return m
	}
	servers := make([]net.IP, len(l.lease.DNS))
	for i, a := range l.lease.DNS {
		servers[i] = a.AsSlice()
	}
	m.AddOption(dhcpv6.OptDNS(servers...))
	return m
}

// refuse answers the associations for addresses, which are not to be had.
func (l *link) refuse(m *dhcpv6.Message, r *request, code iana.StatusCode, text string) {
	for _, ia := range r.options.IANA() {
		m.AddOption(&dhcpv6.OptIANA{IaId: ia.IaId, Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{status(code, text)}}})
	}
}

// grant is the answer for an association that gets the link's prefix. T1 and T2 are as RFC 8415, 21.21 recommends.
func (l *link) grant(ia *dhcpv6.OptIAPD) *dhcpv6.OptIAPD {
	p := l.lease.Delegated
	answer := association(ia, &dhcpv6.OptIAPrefix{
		PreferredLifetime: l.lease.Preferred, ValidLifetime: l.lease.Valid,
		Prefix: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
	})
	answer.T1, answer.T2 = l.lease.Preferred/2, l.lease.Preferred/5*4
	return answer
}

func association(ia *dhcpv6.OptIAPD, options ...dhcpv6.Option) *dhcpv6.OptIAPD {
	return &dhcpv6.OptIAPD{IaId: ia.IaId, Options: dhcpv6.PDOptions{Options: options}}
}

func status(code iana.StatusCode, text string) dhcpv6.Option {
	return &dhcpv6.OptStatusCode{StatusCode: code, StatusMessage: text}
}

// prefixOf converts what the library parsed; an impossible length gives an invalid prefix.
func prefixOf(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if size != a.BitLen() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}
