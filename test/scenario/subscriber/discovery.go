package subscriber

import (
	"cmp"
	"encoding/binary"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

const (
	etherHeader    = 14
	pppoeHeader    = 6
	etherDiscovery = 0x8863
	etherSession   = 0x8864
	versionType    = 0x11 // RFC 2516, 4

	mostDoublings = 3 // of the patience: clients begin anew after a few, and do not wait for ever longer
)

var broadcast = pppoe.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ask sends the PADI or PADR that is due, and sees to the next one; or it gives up. An access concentrator that has offered is kept to.
func (p *Port) ask(s *sub) {
	if s.tries >= p.cfg.Tries {
		s.Refused = "no answer"
		p.end(s)
		return
	}
	s.retry = p.now + p.cfg.Patience<<min(s.tries, mostDoublings)
	s.tries++
	unique := binary.BigEndian.AppendUint32(nil, uint32(s.number))
	tags := append([]pppoe.Tag{{Type: pppoe.TagServiceName, Value: []byte(s.call.Service)}, {Type: pppoe.TagHostUniq, Value: unique}}, s.call.Tags...)
	pkt := pppoe.Packet{Dst: broadcast, Src: s.MAC, Code: pppoe.CodePADI}
	if s.State == Requesting {
		pkt.Dst, pkt.Code = s.AC, pppoe.CodePADR
		for _, t := range s.offer.Tags {
			if t.Type == pppoe.TagACCookie || t.Type == pppoe.TagRelaySessionID {
				tags = append(tags, t)
			}
		}
	}
	pkt.Tags = tags
	p.discover(s, pkt)
	p.schedule(s)
}

// discover sends a packet of discovery.
func (p *Port) discover(s *sub, pkt pppoe.Packet) {
	if s.call.Text != nil {
		s.call.Text("> " + pkt.String())
	}
	p.traffic.Discovery++
	p.packet = pkt.Append(p.packet[:0])
	if p.line.send(p.packet) != nil {
		p.traffic.Unsent++ // as if lost on the way
	}
}

// disconnect sends a PADT and ends the session.
func (p *Port) disconnect(s *sub) {
	p.discover(s, pppoe.Packet{Dst: s.AC, Src: s.MAC, Code: pppoe.CodePADT, SessionID: s.ID})
	p.end(s)
}

// receive takes a frame, and does not keep it.
func (p *Port) receive(frame []byte) {
	if len(frame) < etherHeader+pppoeHeader {
		return
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherSession:
		head := frame[etherHeader:]
		s := p.sessions[key{pppoe.MAC(frame[:6]), binary.BigEndian.Uint16(head[2:])}]
		size := int(binary.BigEndian.Uint16(head[4:]))
		if s == nil || s.AC != pppoe.MAC(frame[6:12]) || head[0] != versionType || head[1] != 0 || size > len(head)-pppoeHeader {
			p.traffic.Strange++
			return
		}
		p.frame(s, head[pppoeHeader:][:size])
	case etherDiscovery:
		pkt, err := pppoe.Parse(frame)
		if err != nil || !p.discovered(pkt) {
			p.traffic.Strange++
		}
	}
}

// discovered takes a packet of discovery; false: it is for no subscriber, or comes late.
func (p *Port) discovered(pkt pppoe.Packet) bool {
	if pkt.Code == pppoe.CodePADT {
		s := p.sessions[key{pkt.Dst, pkt.SessionID}]
		if s == nil || s.AC != pkt.Src {
			return false
		}
		s.hear(pkt)
		s.PADT = true
		if s.Told, _ = failure(pkt); s.link != nil {
			s.Link = s.link.View().End
		}
		p.end(s)
		return true
	}
	unique, _ := tag(pkt, pppoe.TagHostUniq)
	if len(unique) != 4 || int64(binary.BigEndian.Uint32(unique)) >= int64(len(p.subs)) {
		return false
	}
	s := p.subs[binary.BigEndian.Uint32(unique)]
	if s.MAC != pkt.Dst {
		return false
	}
	s.hear(pkt)
	switch {
	case pkt.Code == pppoe.CodePADO && s.State == Discovering:
		p.offered(s, pkt)
	case pkt.Code == pppoe.CodePADS && s.State == Requesting && s.AC == pkt.Src:
		p.confirmed(s, pkt)
	default:
		return false
	}
	return true
}

// offered answers the first PADO.
func (p *Port) offered(s *sub, pkt pppoe.Packet) {
	for i := range pkt.Tags {
		pkt.Tags[i].Value = append([]byte(nil), pkt.Tags[i].Value...) // the frame's memory is not ours
	}
	s.offer, s.AC = pkt, pkt.Src
	name, _ := tag(pkt, pppoe.TagACName)
	s.ACName = string(name)
	p.become(s, Requesting)
	p.ask(s)
}

// confirmed begins with PPP, unless the access concentrator has refused.
func (p *Port) confirmed(s *sub, pkt pppoe.Packet) {
	if text, bad := failure(pkt); bad || pkt.SessionID == 0 {
		s.Refused = cmp.Or(text, "no session")
		p.end(s)
		return
	}
	s.ID, s.Confirmed, s.retry = pkt.SessionID, p.now, 0
	p.sessions[key{s.MAC, s.ID}] = s
	p.become(s, Negotiating)
	p.client(s, false, func(out *ppp.Output) { s.link = ppp.Open(&s.call.Client, p.now, out) })
}

// emit sends a PPP frame of the subscriber.
func (p *Port) emit(s *sub, frame []byte) {
	if s.mute || s.State == Ended {
		return
	}
	s.text("> ", frame)
	b := append(append(p.packet[:0], s.AC[:]...), s.MAC[:]...)
	b = binary.BigEndian.AppendUint16(b, etherSession)
	b = append(b, versionType, 0)
	b = binary.BigEndian.AppendUint16(b, s.ID)
	b = binary.BigEndian.AppendUint16(b, uint16(len(frame)))
	p.packet = append(b, frame...)
	p.traffic.FramesSent++
	p.traffic.OctetsSent += uint64(len(frame))
	if p.line.send(p.packet) != nil {
		p.traffic.Unsent++ // as if lost on the way
	}
}

// text tells of a PPP frame.
func (s *sub) text(way string, frame []byte) {
	if s.call.Text != nil {
		s.call.Text(way + ppp.Summary(frame))
	}
}

// hear tells of a packet of discovery.
func (s *sub) hear(pkt pppoe.Packet) {
	if s.call.Text != nil {
		s.call.Text("< " + pkt.String())
	}
}

func tag(pkt pppoe.Packet, kind pppoe.TagType) ([]byte, bool) {
	for _, t := range pkt.Tags {
		if t.Type == kind {
			return t.Value, true
		}
	}
	return nil, false
}

// failure is what the error tag of a packet says, if there is one.
func failure(pkt pppoe.Packet) (string, bool) {
	for _, kind := range []pppoe.TagType{pppoe.TagServiceNameError, pppoe.TagACSystemError, pppoe.TagGenericError} {
		if v, ok := tag(pkt, kind); ok {
			return strings.TrimSpace(kind.String() + " " + string(v)), true
		}
	}
	return "", false
}
