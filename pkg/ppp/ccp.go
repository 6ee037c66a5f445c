package ppp

import "bytes"

// ccpMPPE is the only CCP option in use, Microsoft's (RFC 2118, 2; RFC 3078, 2). All others are rejected (P274).
const ccpMPPE uint8 = 18

// MPPEOverhead is by how many octets a packet grows when it is encrypted: the MTU of the interface is that much smaller.
const MPPEOverhead = 4

// mppeBits are the only Supported Bits that we agree to: H, stateless, and S, keys of 128 bits (RFC 3078, 2). MPPC's C, the obsolete D
// and the weak keys L and M never are (P261).
var mppeBits = [4]byte{0x01, 0, 0, 0x40}

// arming is how far the owner is with the encryption of the kernel.
type arming uint8

const (
	armNone  arming = iota
	armAsked        // EvEncryptionWanted waits for its answer
	armReady        // CCP may speak
)

// calmChecks is how many restart periods pass between two questions whether the kernel decrypts, while all seems well again.
const calmChecks = 10

// CCPRecord is CCP's part of a Record.
type CCPRecord struct {
	Negotiation
	Attempt uint32 // number of the latest EvEncryptionWanted
	Armed   arming
	Refused bool // the owner cannot: CCP is protocol-rejected
	Up      bool // EvEncryptionUp has been sent
	DoubtAt Time // when EvDecryptionCheck is due; 0: all packets could be decrypted since EvEncryptionUp
	Keys    Keys // of the latest login by MS-CHAP
	Resets  int  // Reset-Requests sent in a row without an answer
}

// ccp is the layer of CCP, which is there for MPPE alone. What the kernel does with the frames of CCP that pass through it gives the
// order. It starts to decrypt with an Ack that arrives and to encrypt with an Ack that leaves, each from the keys that it was given
// before, and only between "open" and "up"; a Configure-Request that leaves ends the one, one that arrives the other. Therefore the
// owner arms it before our first frame, and anew whenever Opened is left.
type ccp struct{ l *Link }

// possible says whether MPPE can be negotiated: with the keys of a login by MS-CHAP, and a kernel that does not refuse.
func (p ccp) possible() bool {
	return p.l.cfg.MPPE != MPPEOff && p.l.s.CCP.Keys.known() && !p.l.s.CCP.Refused
}

// required says whether the link must not live without encryption.
func (p ccp) required() bool { return p.l.cfg.MPPE == MPPERequire }

// begin asks the owner to arm the kernel, if there is something to encrypt with.
func (p ccp) begin() {
	l, s := p.l, p.l.s.CCP
	if l.cfg.MPPE == MPPEOff {
		return
	}
	s.Negotiation = Negotiation{State: s.State, ID: s.ID}
	s.Refused = false
	switch {
	case p.possible():
		p.ask()
	case p.required():
		p.lost(false, "there are no keys: they come from MS-CHAP in one direction")
	}
}

// ask begins a new attempt to arm the kernel.
func (p ccp) ask() {
	p.l.s.CCP.Attempt++
	p.l.s.CCP.Armed = armAsked
	p.question()
}

func (p ccp) question() {
	l := p.l
	e := EvEncryptionWanted{
		Attempt: l.s.CCP.Attempt, Required: p.required(),
		Keys: Keys{Send: bytes.Clone(l.s.CCP.Keys.Send), Recv: bytes.Clone(l.s.CCP.Keys.Recv)},
	}
	copy(e.Option[:], p.wishes())
	l.event(e)
}

// armed is the owner's answer, and its later word that the kernel could not begin.
func (p ccp) armed(c CmdEncryption) {
	l, s := p.l, p.l.s.CCP
	if s == nil || c.Attempt != s.Attempt || s.Armed == armNone || c.OK && s.Armed == armReady {
		return
	}
	n := l.negotiator(ProtoCCP)
	l.out.Persist = true
	switch {
	case c.OK:
		s.Armed = armReady
		n.fire(trOpen) // from Initial; elsewhere it changes nothing
		n.fire(trUp)
		n.release()
	case p.required():
		p.lost(false, "the kernel cannot encrypt")
	case s.State.idle():
		s.Refused = true
		p.disarm()
		if s.Holding {
			lcp{l}.rejectProtocol(ProtoCCP, newFrame(ProtoCCP, codeConfigureRequest, s.HeldID, s.Held)[2:])
			s.Holding, s.Held = false, nil
		}
	default:
		n.fire(trClose)
	}
}

// disarm takes back what EvEncryptionWanted asked for.
func (p ccp) disarm() {
	if p.l.s.ccp().Armed != armNone {
		p.l.s.CCP.Armed = armNone
		p.l.event(EvEncryptionDown{})
	}
}

// stop takes CCP down with LCP.
func (p ccp) stop() {
	if p.l.s.CCP == nil {
		return
	}
	p.l.negotiator(ProtoCCP).fire(trDown)
	p.disarm()
}

// lost ends a link that must be encrypted and is not, or no longer (P261, P209).
func (p ccp) lost(peer bool, text string) {
	p.l.s.Goodbye = "encryption required"
	p.l.fail(ReasonNoEncryption, peer, text)
}

// receive takes a CCP packet. What makes the kernel forget its state must not meet an automaton that goes on as if nothing had been.
func (p ccp) receive(in packet) {
	l, s := p.l, p.l.s.CCP
	n := l.negotiator(ProtoCCP)
	switch in.code {
	case codeConfigureRequest:
		switch {
		case s.State == stOpened:
			p.restart()
			n.hold(in)
		case s.Armed == armAsked:
			n.hold(in)
		case s.Armed == armNone && s.State == stStopped:
			p.ask() // it comes late: we had given up waiting
			n.hold(in)
		default:
			n.receive(in)
		}
	case codeTerminateAck:
		if s.State == stOpened || s.State == stAckSent {
			p.restart()
			return
		}
		n.receive(in)
	case codeResetRequest:
		// Without state there is nothing to reset, but a question gets an answer (RFC 1962, 5), as pppd gives one.
		if s.State == stOpened {
			n.send(codeResetAck, in.id)
		}
	case codeResetAck: // the kernel goes on with any, whatever its identifier
		if s.Resets > 0 {
			s.Resets, l.out.Persist = 0, true
		}
	case codeConfigureAck, codeConfigureNak, codeConfigureReject, codeTerminateRequest, codeCodeReject, codeProtocolReject,
		codeEchoRequest, codeEchoReply, codeDiscardRequest:
		n.receive(in)
	default:
		n.receive(in)
	}
}

// undecrypted takes a packet that the kernel could not decrypt. Interop: without state RFC 3078 has no need of a Reset-Request, but Linux
// decrypts nothing more until a Reset-Ack comes; pppd asks for it, too.
func (p ccp) undecrypted() {
	p.l.anomaly("a packet could not be decrypted")
	if p.l.s.CCP.Resets == 0 {
		p.askReset()
	}
}

// askReset sends a Reset-Request. Its answer, or none, is followed by a question to the owner.
func (p ccp) askReset() {
	l, s := p.l, p.l.s.CCP
	s.Resets++
	if at := l.now + l.cfg.Restart; s.DoubtAt == 0 || s.DoubtAt > at { // never later: the next bad packet must not put it off
		s.DoubtAt = at
	}
	l.out.Persist = true
	l.negotiator(ProtoCCP).send(codeResetRequest, s.nextID())
}

// expire asks whether the kernel still decrypts. Once in doubt that goes on: where encryption is required, the packet upon which the
// kernel gives up is the first that does not come here.
func (p ccp) expire() {
	l, s := p.l, p.l.s.CCP
	if s == nil || !due(&s.DoubtAt, l.now) {
		return
	}
	switch {
	case s.Resets == 0:
		s.DoubtAt = l.now + calmChecks*l.cfg.Restart
	case s.Resets < l.cfg.MaxConfigure:
		p.askReset()
	default:
		p.deaf("the peer does not answer Reset-Requests")
		return
	}
	l.event(EvDecryptionCheck{Attempt: s.Attempt})
}

// checked is the owner's answer to EvDecryptionCheck.
func (p ccp) checked(c CmdDecryption) {
	if s := p.l.s.ccp(); c.Broken && s.Up && c.Attempt == s.Attempt {
		p.deaf("the kernel has given up after too many broken ones")
	}
}

// deaf ends a link on which nothing can be decrypted any more, even where encryption is only allowed, as pppd does. To go on in clear
// would let anybody switch encryption off who can send broken packets, and CCP anew would begin with keys that have been used. A new
// login makes new ones.
func (p ccp) deaf(text string) {
	p.l.s.Goodbye = "packets cannot be decrypted"
	p.l.fail(ReasonDecryption, false, text)
}

// restart takes CCP down and has the kernel armed anew. Even a copy of the request that was acknowledged makes it necessary, because
// the kernel has seen it.
func (p ccp) restart() {
	p.l.negotiator(ProtoCCP).fire(trDown)
	p.disarm()
	p.ask()
}

func (p ccp) wishes() []byte { return appendOption(nil, ccpMPPE, mppeBits[:]...) }

func (p ccp) judge(opts []option) verdict {
	var v verdict
	said := false
	for _, o := range opts {
		switch {
		case o.typ != ccpMPPE || said:
			v.reject(o)
		case !bytes.Equal(o.data, mppeBits[:]):
			said = true
			v.nak(o, mppeBits[:]...)
		default:
			said = true
		}
	}
	switch {
	case said || len(v.rejected) > 0:
	case p.l.s.CCP.Naks == 0:
		v.ask(ccpMPPE, mppeBits[:]...)
	default:
		p.l.negotiator(ProtoCCP).abandon() // it was reminded and will not encrypt
	}
	return v
}

func (p ccp) accept([]option) {}

// refused: the peer may ask for more than it will get, because its own request is judged for itself, but less than 128 bits or a state
// is no agreement.
func (p ccp) refused(c code, opts []option) bool {
	for _, o := range opts {
		if o.typ != ccpMPPE {
			continue
		}
		if c == codeConfigureReject || len(o.data) != len(mppeBits) ||
			o.data[0]&mppeBits[0] == 0 || o.data[3]&mppeBits[3] == 0 {
			return false
		}
	}
	return true
}

func (p ccp) changed(c change) {
	l, s := p.l, p.l.s.CCP
	switch c {
	case layerUp:
		s.Up = true
		l.event(EvEncryptionUp{Required: p.required()})
		if p.required() {
			network{l}.open()
		}
	case layerDown:
		s.Up, s.DoubtAt, s.Resets = false, 0, 0
		switch {
		case !p.required() || l.s.LCP.State != stOpened:
		case s.State == stStarting:
			network{l}.hold() // until it is up again
		default:
			p.lost(true, "the peer ended it")
		}
		p.disarm()
	case layerFinished:
		p.disarm()
		if p.required() && l.s.LCP.State == stOpened {
			p.lost(true, "")
		}
	}
}
