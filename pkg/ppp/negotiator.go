package ppp

import (
	"bytes"
	"hash/crc32"
)

// Negotiation is the mutable state of one run of the automaton, part of a Record. Its slices are replaced, never
// written in place.
type Negotiation struct {
	State    state
	ID       uint8
	SentID   uint8 // of the latest Configure-Request
	Replied  bool  // a valid answer to it has come
	AckedID  uint8 // of the latest Configure-Request that was acknowledged
	AckedFor bool  // by a LAC in our place: the identifier is not known
	Holding  bool  // the peer's Configure-Request waits for the owner's word, or for encryption
	HeldID   uint8
	Restarts int16  // the restart counter
	Naks     int16  // sent in a row without an Ack (Max-Failure, RFC 1661, 4.6)
	Refusals int16  // Naks and Rejects sent in a row without an Ack
	Refused  int16  // Naks and Rejects received in a row without an Ack
	Rounds   int16  // Acks received since it was last open
	Naked    uint32 // checksum of the latest Configure-Request that got a Nak; 0: none did since the latest Ack
	Sent     []byte // the options of those requests
	Acked    []byte
	Held     []byte
	AckedAt  Time
	Deadline Time // of the restart timer; 0 when it does not run
}

// maxGoodbye bounds the text of a Terminate-Request, in octets.
const maxGoodbye = 120

// change is what a layer is told about its automaton.
type change uint8

const (
	layerUp change = iota
	layerDown
	layerFinished
)

// layer is what distinguishes one control protocol from another.
type layer interface {
	// wishes returns the options of our next Configure-Request.
	wishes() []byte
	// judge weighs the peer's Configure-Request.
	judge(opts []option) verdict
	// accept takes over what the peer asked for: it has been judged good.
	accept(opts []option)
	// refused adapts the wishes to a Configure-Nak or Configure-Reject. False: no agreement is possible.
	refused(c code, opts []option) bool
	// changed reports This-Layer-Up, -Down and -Finished.
	changed(c change)
}

// verdict collects the answer to a Configure-Request.
type verdict struct {
	rejected []byte // options as received, in their order
	naked    []byte // options with the values that we would accept
	doubtful []byte // the options behind naked, as received
	asked    []byte // options that the peer left out and that we want to see
	hold     bool   // nothing can be said before the owner answers
}

func (v *verdict) reject(o option) { v.rejected = append(v.rejected, o.raw...) }

func (v *verdict) nak(o option, data ...byte) {
	v.naked = appendOption(v.naked, o.typ, data...)
	v.doubtful = append(v.doubtful, o.raw...)
}

func (v *verdict) ask(typ uint8, data ...byte) { v.asked = appendOption(v.asked, typ, data...) }

// negotiator runs the automaton of RFC 1661, 4 for one protocol. It is made for a step and thrown away; what lasts is
// in s.
type negotiator struct {
	l     *Link
	s     *Negotiation
	proto Protocol
	layer layer

	in    packet // the packet being answered
	reply code   // Configure-Ack, -Nak or -Reject, and its options
	opts  []byte
}

// fire does one event: the only way to another state.
func (n *negotiator) fire(t trigger) {
	do, to, ok := n.s.State.on(t)
	if !ok {
		return
	}
	n.become(to)
	n.perform(do, to)
}

func (n *negotiator) become(to state) {
	if n.s.State != to {
		n.s.State = to
		n.l.out.Persist = true
	}
	if !to.timed() {
		n.s.Deadline = 0
	}
}

// perform does the actions of a cell. It stops when a layer, told of a change, has brought the automaton into another state.
func (n *negotiator) perform(do actions, to state) {
	for a := actTLD; a <= actTLF && n.s.State == to; a <<= 1 {
		switch do & a {
		case actTLD:
			n.layer.changed(layerDown)
		case actIRC:
			n.s.Restarts = int16(n.l.cfg.MaxConfigure) // at most 255
			if n.s.State == stClosing || n.s.State == stStopping {
				n.s.Restarts = int16(n.l.cfg.MaxTerminate)
			}
		case actZRC:
			// One restart period lets our Terminate-Ack arrive before the link goes (RFC 1661, 4.4, zrc).
			n.s.Restarts = 0
			n.s.Deadline = n.l.now + n.l.cfg.Restart
		case actSCR:
			n.sendRequest()
		case actSCA, actSCN:
			n.send(n.reply, n.in.id, n.opts)
		case actSTR:
			n.s.Restarts--
			n.s.Deadline = n.l.now + n.l.cfg.Restart
			goodbye := ""
			if n.proto == ProtoLCP {
				goodbye = n.l.s.Goodbye
			}
			n.send(codeTerminateRequest, n.s.nextID(), truncate([]byte(goodbye), maxGoodbye))
		case actSTA:
			id := n.in.id
			if n.in.code != codeTerminateRequest {
				id = n.s.nextID()
			}
			n.send(codeTerminateAck, id)
		case actSCJ:
			n.send(codeCodeReject, n.s.nextID(), truncate(n.in.raw, int(n.l.s.LCP.PeerMRU)-packetHeader))
		case actSER:
			lcp{n.l}.answerEcho(n.in)
		case actTLU:
			n.s.Rounds = 0
			n.layer.changed(layerUp)
		case actTLS:
		case actTLF:
			n.layer.changed(layerFinished)
		}
	}
}

// sendRequest sends a Configure-Request. A retransmission keeps its identifier, so that a late answer still counts.
func (n *negotiator) sendRequest() {
	opts := n.layer.wishes()
	same := bytes.Equal(opts, n.s.Sent)
	if n.s.Replied || n.s.SentID == 0 || !same {
		n.s.SentID = n.s.nextID()
	}
	if !same {
		n.s.Sent = n.l.keep(opts)
	}
	n.s.Replied = false
	n.s.Restarts--
	n.s.Deadline = n.l.now + n.l.cfg.Restart
	n.l.out.Persist = true
	n.send(codeConfigureRequest, n.s.SentID, opts)
}

func (n *negotiator) send(c code, id uint8, data ...[]byte) {
	n.l.out.Frames = append(n.l.out.Frames, newFrame(n.proto, c, id, data...))
}

// nextID never returns 0, which stands for "none yet".
func (s *Negotiation) nextID() uint8 {
	s.ID++
	if s.ID == 0 {
		s.ID = 1
	}
	return s.ID
}

// expire fires the restart timer.
func (n *negotiator) expire() {
	if n.s.Deadline == 0 || n.s.Deadline > n.l.now {
		return
	}
	n.s.Deadline = 0
	if n.s.Restarts > 0 {
		n.fire(trTimeoutMore)
		return
	}
	n.fire(trTimeoutLast)
}

// receive handles one packet of the protocol. Codes above Code-Reject are LCP's own and are handled by it before.
func (n *negotiator) receive(p packet) {
	n.in = p
	if n.s.State <= stStarting {
		return // the lower layer is down (RFC 1661, 3.4: silently discarded)
	}
	switch p.code {
	case codeConfigureRequest:
		n.configureRequest(p)
	case codeConfigureAck:
		n.acked(p)
	case codeConfigureNak, codeConfigureReject:
		n.configureRefused(p)
	case codeTerminateRequest:
		n.fire(trTerminate)
	case codeTerminateAck:
		n.fire(trTermAck)
	case codeCodeReject:
		n.codeRejected(p)
	case codeProtocolReject, codeEchoRequest, codeEchoReply, codeDiscardRequest, codeResetRequest, codeResetAck:
		n.fire(trUnknown)
	default:
		n.fire(trUnknown)
	}
}

// acked takes a valid Configure-Ack. A peer that goes on acknowledging and never asks for anything itself must not keep
// the automaton busy for ever: every Ack starts the restart counter anew.
func (n *negotiator) acked(p packet) {
	if !n.s.State.asking() {
		n.fire(trAck)
		return
	}
	if !n.s.answeredBy(p) || !bytes.Equal(p.data, n.s.Sent) {
		return
	}
	n.s.Replied, n.s.Refused = true, 0
	n.s.Rounds++
	if int(n.s.Rounds) > n.l.cfg.tolerance() {
		n.abandon()
		return
	}
	n.fire(trAck)
}

// answeredBy says whether p answers the latest Configure-Request for the first time. A second copy of an answer is
// discarded: taking it for the crossed connection of RFC 1661, 4.3 would let a network that duplicates frames tear
// down an open link.
func (s *Negotiation) answeredBy(p packet) bool {
	return s.SentID != 0 && p.id == s.SentID && !s.Replied
}

func (n *negotiator) configureRequest(p packet) {
	opts, ok := parseOptions(p.data)
	if !ok {
		n.l.anomaly(n.proto.String() + " Configure-Request with broken options")
		return
	}
	if !n.s.State.negotiating() {
		n.fire(trRequestGood)
		return
	}
	if n.s.repeatedBy(p, n.l.now, n.l.cfg.Restart) {
		n.send(codeConfigureAck, p.id, p.data)
		return
	}
	n.s.Holding, n.s.Held = false, nil
	sum := p.checksum()
	if n.s.Naked == sum && int(n.s.Refusals) < n.l.cfg.MaxConfigure {
		// Our Nak was lost, or the network made a copy: the peer has not insisted. Nobody asks more often who hears nothing.
		n.s.Naks--
		n.s.Naked = 0 // until it gets a Nak again
	}
	v := n.layer.judge(opts)
	if !n.s.State.negotiating() {
		return // the layer gave up
	}
	switch {
	case len(v.rejected) > 0:
		n.refuse(codeConfigureReject, v.rejected)
	case v.hold:
		n.hold(p)
	case len(v.naked)+len(v.asked) > 0 && int(n.s.Naks) < n.l.cfg.MaxFailure:
		n.s.Naks++
		n.s.Naked = sum
		n.refuse(codeConfigureNak, append(v.naked, v.asked...))
	case len(v.doubtful) > 0:
		// Max-Failure Naks did not convince the peer (RFC 1661, 4.6).
		n.refuse(codeConfigureReject, v.doubtful)
	default:
		n.layer.accept(opts)
		n.s.Naks, n.s.Naked, n.s.Refusals = 0, 0, 0
		n.s.AckedID, n.s.Acked, n.s.AckedAt, n.s.AckedFor = p.id, n.l.keep(p.data), n.l.now, false
		n.l.out.Persist = true
		n.reply, n.opts = codeConfigureAck, p.data
		n.fire(trRequestGood)
	}
}

// repeatedBy says whether p is a copy of the request that was acknowledged within the last restart period: a duplicate of
// the network, or sent again because our Ack was lost. It gets the same Ack; renegotiating would only prolong things. Any
// later or different request means that the peer starts anew.
func (s *Negotiation) repeatedBy(p packet, now, restart Time) bool {
	return s.State == stOpened && (p.id == s.AckedID || s.AckedFor) && now-s.AckedAt <= restart && bytes.Equal(p.data, s.Acked)
}

// checksum tells a Configure-Request from the one before: they differ in what they ask for, or at least in the identifier (RFC 1661,
// 5.1). It is not 0.
func (p packet) checksum() uint32 {
	return max(1, crc32.Update(crc32.ChecksumIEEE([]byte{p.id}), crc32.IEEETable, p.data))
}

// hold keeps the peer's Configure-Request for later; of several the latest.
func (n *negotiator) hold(p packet) {
	n.s.Holding, n.s.HeldID, n.s.Held = true, p.id, bytes.Clone(p.data)
	n.l.out.Persist = true
}

// release judges the held request again.
func (n *negotiator) release() {
	if n.s.Holding {
		n.receive(packet{code: codeConfigureRequest, id: n.s.HeldID, data: n.s.Held})
	}
}

func (n *negotiator) refuse(c code, opts []byte) {
	n.s.Refusals++
	if int(n.s.Refusals) > n.l.cfg.tolerance() {
		n.abandon()
		return
	}
	n.reply, n.opts = c, opts
	n.fire(trRequestBad)
}

func (n *negotiator) configureRefused(p packet) {
	if !n.s.State.asking() {
		n.fire(trNak)
		return
	}
	if !n.s.answeredBy(p) {
		return
	}
	opts, ok := parseOptions(p.data)
	if !ok || len(opts) == 0 || p.code == codeConfigureReject && !subset(opts, n.s.Sent) {
		n.l.anomaly(n.proto.String() + " Configure-Nak or -Reject that fits no request of ours")
		return
	}
	n.s.Replied = true
	n.s.Refused++
	if int(n.s.Refused) > n.l.cfg.tolerance() || !n.layer.refused(p.code, opts) {
		n.abandon()
		return
	}
	n.fire(trNak)
}

// subset says whether every option stands octet for octet in the request sent.
func subset(opts []option, sent []byte) bool {
	ours, _ := parseOptions(sent)
	for _, o := range opts {
		found := false
		for _, w := range ours {
			found = found || bytes.Equal(o.raw, w.raw)
		}
		if !found {
			return false
		}
	}
	return true
}

// abandon gives up negotiating: LCP takes the link with it, and so does CCP if it must be, an NCP only itself (P265).
func (n *negotiator) abandon() {
	switch {
	case n.proto == ProtoLCP:
		n.l.fail(ReasonNoAgreement, false, "")
	case n.proto == ProtoCCP && ccp{n.l}.required():
		ccp{n.l}.lost(true, "")
	default:
		n.fire(trClose)
	}
}

// codeRejected tells a permitted reject from a catastrophic one: nothing works without the codes 1 to 7.
func (n *negotiator) codeRejected(p packet) {
	if len(p.data) == 0 {
		return
	}
	c := code(p.data[0])
	if c == 0 || c > codeCodeReject {
		if n.proto == ProtoLCP && c == codeEchoRequest {
			n.l.s.EchoAt, n.l.s.EchoTries = 0, 0
			n.l.anomaly("the peer rejects LCP Echo-Request: keep-alive is off")
		}
		n.fire(trRejectGood)
		return
	}
	n.rejectedForGood()
}

// rejectedForGood is RXJ-.
func (n *negotiator) rejectedForGood() {
	if n.proto == ProtoLCP {
		n.l.note(ReasonProtocolError, true, "")
	}
	n.fire(trRejectBad)
}

func truncate(b []byte, n int) []byte { return b[:min(len(b), max(n, 0))] }
