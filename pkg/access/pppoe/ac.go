package pppoe

import (
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// Offer is a client that has asked for a session. The owner answers with Accept or Refuse, and keeps the session's number until it
// has called Refuse or Freed: every Offer ends with exactly one of the two.
type Offer struct {
	Interface  string
	SessionID  uint16
	Client     MAC
	Service    string // as it was asked for, which may be ""; where any service is served, whatever octets the client likes
	MaxPayload uint16 // octets of PPP that a frame may carry: 1492, less on a smaller MTU, more when PPP-Max-Payload was agreed on
	Line       Line   // as the PADR told it
}

// End is a session that its client has ended. It is still to be freed.
type End struct {
	SessionID uint16
	Why       string // printable
}

// Dropped is a packet that had no answer.
type Dropped struct {
	Client MAC // where it says that it comes from; zero for one too short to say so
	Why    Drop
}

// Refused is a client who has asked for a session that he cannot have.
type Refused struct {
	Client MAC
	Why    string
}

// Output is what comes of a step, in order.
type Output struct {
	Frames  [][]byte // to be sent
	Offers  []Offer
	Ended   []End
	Refused []Refused // by the AC; the owner knows whom he refuses
	Dropped []Dropped
}

// Refusal is the kind of error that a client is told (RFC 2516, appendix A).
type Refusal TagType

// The kinds.
const (
	RefuseService = Refusal(TagServiceNameError)
	RefuseSystem  = Refusal(TagACSystemError)
	RefuseGeneric = Refusal(TagGenericError)
)

// state is where a session is.
type state uint8

const (
	offered state = iota // the owner decides
	up                   // PADS was sent
	ended                // by either side, or with the interface; the owner frees it
)

// session is one from its Offer until it is freed.
type session struct {
	id      uint16
	request request
	service []byte
	echo    []Tag
	payload uint16 // PPP-Max-Payload; 0: not agreed on
	state   state
}

// request is a PADR that may come again.
type request struct {
	client MAC
	cookie cookieNumber
}

const (
	// idRest is how long a number is not given away after its session. Late frames of the old one are lost meanwhile.
	idRest = 10 * time.Second
	// maxDelayed is how many PADOs wait for their time.
	maxDelayed = 1024
	// maxText is how much of an error's text is sent.
	maxText = 255
	// goingDown is how long an interface takes to go down, at most: meanwhile the kernel has ended the sessions, and takes frames
	// that it loses.
	goingDown = 5 * time.Second
)

// delayed is a PADO that waits.
type delayed struct {
	due   time.Duration
	frame []byte
}

// resting is a number that nobody has for some time.
type resting struct {
	id    uint16
	until time.Duration
}

// cut is a session that ended with the interface, or just before, so that its client may not have been told.
type cut struct {
	client MAC
	id     uint16
	at     time.Duration
}

// AC is the access concentrator of one interface. Time comes in with each call and does not go back; what is to be done goes out in
// an Output. It keeps no input. It is not for concurrent use.
type AC struct {
	cfg     Config
	running bool
	mac     MAC
	mtu     int
	counts  Counters
	cookies cookies
	crowd   crowd
	delayed []delayed // by their time: the delay is the same for all

	sessions map[uint16]*session
	requests map[request]*session
	clients  map[MAC]int // how many sessions each has that have not ended
	cut      []cut       // by their time
	lastID   uint16
	resting  []resting // by their time
	rests    map[uint16]bool
}

// NewAC returns an AC of an interface that is not up.
func NewAC(cfg Config) (*AC, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	a := &AC{
		cfg: cfg, cookies: cookies{key: cfg.CookieKey, name: cfg.Interface}, crowd: newCrowd(cfg.Rates),
		sessions: map[uint16]*session{}, requests: map[request]*session{}, clients: map[MAC]int{}, rests: map[uint16]bool{},
	}
	// The first number is anybody's guess, so that sessions of a former life are not taken for new ones.
	a.lastID = binary.BigEndian.Uint16(a.cookies.sum([]byte("first session"), MAC{}))
	return a, nil
}

// Up says that the interface is up, and what it is. Clients whose sessions ended when it went down are told now: without, they would
// notice by and by. To them the AC is its address: with another one it could tell them nothing.
func (a *AC) Up(now time.Duration, mac MAC, mtu int, out *Output) {
	all := a.cut
	if mac != a.mac {
		all = nil
	}
	a.running, a.mac, a.mtu, a.cut = true, mac, mtu, nil
	for _, c := range all {
		a.dismiss(now, c.client, c.id, "the interface was down", out)
	}
}

// Down says that the interface is not there any more, or not the same. The kernel has ended its sessions: they wait to be freed.
func (a *AC) Down(now time.Duration) {
	a.running, a.delayed = false, nil
	a.forget(now)
	for _, s := range a.sessions {
		if s.state == up {
			a.cut = append(a.cut, cut{s.request.client, s.id, now})
		}
		a.end(s)
	}
}

// forget drops those of whom it is certain that they were told.
func (a *AC) forget(now time.Duration) {
	old := 0
	for old < len(a.cut) && (a.cut[old].at+goingDown < now || len(a.cut)-old > maxSessionID) {
		old++
	}
	if a.cut = a.cut[old:]; len(a.cut) == 0 {
		a.cut = nil
	}
}

// end marks a session: from now on its client may have another in its place.
func (a *AC) end(s *session) {
	if s.state == ended {
		return
	}
	s.state = ended
	if a.clients[s.request.client]--; a.clients[s.request.client] == 0 {
		delete(a.clients, s.request.client)
	}
}

// Configure has other names, delays, limits and rates hold for clients to come.
func (a *AC) Configure(cfg Config) error {
	cfg.Interface, cfg.CookieKey = a.cfg.Interface, a.cfg.CookieKey
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	if cfg.Rates != a.cfg.Rates {
		a.crowd = newCrowd(cfg.Rates)
	}
	a.cfg = cfg
	return nil
}

// Counters gives what was counted.
func (a *AC) Counters() Counters {
	c := a.counts
	c.Sessions = len(a.sessions)
	return c
}

// Deadline is when Expire has something to do; false: never.
func (a *AC) Deadline() (time.Duration, bool) {
	if len(a.delayed) == 0 {
		return 0, false
	}
	return a.delayed[0].due, true
}

// Expire does what is due.
func (a *AC) Expire(now time.Duration, out *Output) {
	for len(a.delayed) > 0 && a.delayed[0].due <= now {
		a.send(a.delayed[0].frame, CodePADO, out)
		a.delayed[0].frame = nil
		a.delayed = a.delayed[1:]
	}
	if len(a.delayed) == 0 {
		a.delayed = nil
	}
}

// Receive takes one Ethernet frame.
func (a *AC) Receive(now time.Duration, frame []byte, out *Output) {
	p, err := Parse(frame)
	if err != nil {
		a.drop(source(frame), dropOf(err), out)
		return
	}
	a.counts.In.add(p.Code)
	toAll := p.Dst == broadcast && p.Code == CodePADI
	switch {
	case !a.running:
		a.drop(p.Src, DropDown, out)
		return
	case p.Dst != a.mac && !toAll, p.Src == a.mac:
		a.drop(p.Src, DropElsewhere, out)
		return
	}
	switch p.Code {
	case CodePADI:
		a.padi(now, p, out)
	case CodePADR:
		a.padr(now, p, out)
	case CodePADT:
		a.padt(p, out)
	case CodePADO, CodePADS:
		a.drop(p.Src, DropDirection, out)
	}
}

// source is the address that a frame says it comes from, whatever else is wrong with it.
func source(frame []byte) (mac MAC) {
	if len(frame) >= etherHeader {
		copy(mac[:], frame[len(mac):])
	}
	return mac
}

// padi answers with an offer of all services, at once or later (RFC 2516, 5.1 and 5.2).
func (a *AC) padi(now time.Duration, p Packet, out *Output) {
	name, names := p.tag(TagServiceName)
	payload, ok := a.payload(p)
	if names != 1 || p.SessionID != 0 || !ok {
		a.drop(p.Src, DropTags, out)
		return
	}
	if !a.serves(name) {
		a.drop(p.Src, DropService, out)
		return
	}
	if why, ok := a.crowd.allowPADI(now, p.Src, float64(len(a.delayed))/maxDelayed); !ok {
		a.drop(p.Src, why, out)
		return
	}
	answer := a.packet(CodePADO, p.Src, 0, Tag{TagServiceName, name}, Tag{TagACName, []byte(a.cfg.ACName)})
	for _, other := range a.cfg.ServiceNames {
		if other != string(name) {
			answer.Tags = append(answer.Tags, Tag{TagServiceName, []byte(other)})
		}
	}
	answer.Tags = append(answer.Tags, Tag{TagACCookie, a.cookies.make(now, p.Src)})
	answer.Tags = append(answer.Tags, payloadTag(payload)...)
	answer.Tags = append(answer.Tags, p.echoed()...)
	if answer.length() > a.room() {
		a.drop(p.Src, DropOversize, out)
		return
	}
	if a.cfg.Delay == 0 {
		a.send(answer.frame(), CodePADO, out)
		return
	}
	a.delayed = append(a.delayed, delayed{now + a.cfg.Delay, answer.frame()})
}

// padr offers a session to the owner (RFC 2516, 5.3 and 5.4). Nothing is remembered, and nothing answered, without a valid cookie.
func (a *AC) padr(now time.Duration, p Packet, out *Output) {
	payload, ok := a.payload(p)
	if p.SessionID != 0 || !ok {
		a.drop(p.Src, DropTags, out)
		return
	}
	value, _ := p.tag(TagACCookie)
	cookie, ok := a.cookies.check(now, p.Src, value)
	if !ok {
		a.drop(p.Src, DropCookie, out)
		return
	}
	if !a.crowd.allowPADR(now, p.Src) {
		a.drop(p.Src, DropStation, out)
		return
	}
	s := a.requests[request{p.Src, cookie}]
	switch {
	case s != nil && s.state == up: // the PADS was lost
		a.counts.Repeated++
		a.confirm(s, out)
		return
	case s != nil:
		a.drop(p.Src, DropUndecided, out)
		return
	}
	s = &session{request: request{p.Src, cookie}, payload: payload}
	for _, t := range p.echoed() {
		s.echo = append(s.echo, Tag{t.Type, slices.Clone(t.Value)})
	}
	name, names := p.tag(TagServiceName)
	s.service = slices.Clone(name)
	switch {
	case names != 1 || !a.serves(name):
		a.counts.RefusedService++
		a.reject(s, RefuseService, "no such service here", out)
		return
	case len(a.sessions) >= a.cfg.MaxSessions:
		a.counts.RefusedLimit++
		a.reject(s, RefuseSystem, "too many sessions", out)
		return
	case a.clients[p.Src] >= a.cfg.MaxSessionsPerMAC:
		a.counts.RefusedLimit++
		a.reject(s, RefuseSystem, "too many sessions of this client", out)
		return
	case !a.crowd.allowSession(now):
		a.drop(p.Src, DropRate, out)
		return
	}
	if s.id, ok = a.newID(now); !ok {
		a.counts.RefusedLimit++
		a.reject(s, RefuseSystem, "too many sessions", out)
		return
	}
	a.sessions[s.id], a.requests[s.request] = s, s
	a.clients[p.Src]++
	a.counts.Offered++
	offer := Offer{Interface: a.cfg.Interface, SessionID: s.id, Client: p.Src, Service: string(name), Line: a.line(p)}
	if offer.MaxPayload = payload; payload == 0 {
		offer.MaxPayload = uint16(max(0, min(defaultPayload, a.mtu-overhead)))
	}
	out.Offers = append(out.Offers, offer)
}

// line reads what the access node tells. A tag that cannot be read is not the client's fault.
func (a *AC) line(p Packet) Line {
	for _, t := range p.Tags {
		if t.Type != TagVendorSpecific {
			continue
		}
		line, ours, err := parseLine(t.Value)
		if err != nil {
			a.counts.BadLines++
			return Line{}
		}
		if ours {
			return line
		}
	}
	return Line{}
}

// padt ends a session by its client's wish (RFC 2516, 5.5).
func (a *AC) padt(p Packet, out *Output) {
	s := a.sessions[p.SessionID]
	if s == nil || s.request.client != p.Src || s.state == ended {
		a.drop(p.Src, DropNoSession, out)
		return
	}
	a.end(s)
	why := "the client has ended the session"
	if text, n := p.tag(TagGenericError); n > 0 {
		why += ": " + printable(text)
	}
	out.Ended = append(out.Ended, End{p.SessionID, why})
}

// Accept tells the client that its session is there: PADS. The kernel must have it already. A session that is gone, or has been
// accepted before, is no error: nothing happens.
func (a *AC) Accept(id uint16, out *Output) {
	if s := a.sessions[id]; s != nil && s.state == offered {
		s.state = up
		a.confirm(s, out)
	}
}

// Refuse tells the client that its session is not to be, and frees its number. For one that was accepted it is Terminate and
// Freed.
func (a *AC) Refuse(now time.Duration, id uint16, kind Refusal, text string, out *Output) {
	s := a.sessions[id]
	if s == nil {
		return
	}
	if s.state == offered {
		a.counts.RefusedOwner++
		a.refuse(s, kind, text, out)
		a.end(s)
	}
	a.Terminate(now, id, text, out)
	a.Freed(now, id, out)
}

// Terminate ends a session from our side: PADT, with a text if there is one. Of a session that was not accepted the client hears
// nothing. It is still to be freed.
func (a *AC) Terminate(now time.Duration, id uint16, text string, out *Output) {
	s := a.sessions[id]
	if s == nil {
		return
	}
	if s.state == up && a.running {
		a.dismiss(now, s.request.client, id, text, out)
	}
	a.end(s)
}

// dismiss sends a PADT.
func (a *AC) dismiss(now time.Duration, client MAC, id uint16, text string, out *Output) {
	a.cut = append(a.cut, cut{client, id, now})
	a.forget(now)
	p := a.packet(CodePADT, client, id)
	if text = fit(text, a.room()-tagHeader); text != "" {
		p.Tags = []Tag{{TagGenericError, []byte(text)}}
	}
	a.send(p.frame(), CodePADT, out)
}

// Freed says that the owner and the kernel have done with a session. Its number rests, and is given away again. A session that is
// still up is terminated before.
func (a *AC) Freed(now time.Duration, id uint16, out *Output) {
	s := a.sessions[id]
	if s == nil {
		return
	}
	a.Terminate(now, id, "", out)
	delete(a.sessions, id)
	delete(a.requests, s.request)
	a.resting = append(a.resting, resting{id, now + idRest})
	a.rests[id] = true
}

// newID gives the number that was not in use for longest, or nearly.
func (a *AC) newID(now time.Duration) (uint16, bool) {
	for len(a.resting) > 0 && a.resting[0].until <= now {
		delete(a.rests, a.resting[0].id)
		a.resting = a.resting[1:]
	}
	if len(a.sessions)+len(a.rests) >= maxSessionID {
		return 0, false
	}
	for {
		if a.lastID++; a.lastID == 0 || a.lastID > maxSessionID {
			a.lastID = 1
		}
		if a.sessions[a.lastID] == nil && !a.rests[a.lastID] {
			return a.lastID, true
		}
	}
}

// serves says whether that service is ours.
func (a *AC) serves(name []byte) bool {
	return len(name) == 0 || len(a.cfg.ServiceNames) == 0 || slices.Contains(a.cfg.ServiceNames, string(name))
}

// payload gives the PPP-Max-Payload that is agreed on: what the client can take, if that is more than Ethernet carries, up to what
// our interface and the owner can (RFC 4638, 4 and 5; P273). 0: none. It is false when the tag cannot be read.
func (a *AC) payload(p Packet) (uint16, bool) {
	value, n := p.tag(TagPPPMaxPayload)
	switch {
	case n == 0:
		return 0, true
	case n > 1 || len(value) != 2:
		return 0, false
	}
	agreed := min(int(binary.BigEndian.Uint16(value)), a.cfg.MaxPayload, a.mtu-overhead, math.MaxUint16)
	if agreed <= defaultPayload {
		return 0, true
	}
	return uint16(agreed), true
}

func payloadTag(payload uint16) []Tag {
	if payload == 0 {
		return nil
	}
	return []Tag{{TagPPPMaxPayload, binary.BigEndian.AppendUint16(nil, payload)}}
}

// room is how many octets the tags of a packet may take.
func (a *AC) room() int { return min(a.mtu, defaultPayload+overhead) - pppoeHeader }

func (a *AC) packet(code Code, to MAC, id uint16, tags ...Tag) Packet {
	return Packet{Dst: to, Src: a.mac, Code: code, SessionID: id, Tags: tags}
}

// confirm sends the PADS of a session that is up.
func (a *AC) confirm(s *session, out *Output) {
	p := a.packet(CodePADS, s.request.client, s.id, Tag{TagServiceName, s.service})
	p.Tags = append(p.Tags, payloadTag(s.payload)...)
	p.Tags = append(p.Tags, s.echo...)
	a.send(p.frame(), CodePADS, out)
}

// refuse sends a PADS that says what is wrong.
func (a *AC) refuse(s *session, kind Refusal, text string, out *Output) {
	if !a.running {
		return
	}
	p := a.packet(CodePADS, s.request.client, 0, Tag{TagServiceName, s.service})
	p.Tags = append(p.Tags, s.echo...)
	text = fit(text, a.room()-p.length()-tagHeader)
	p.Tags = slices.Insert(p.Tags, 1, Tag{TagType(kind), []byte(text)})
	a.send(p.frame(), CodePADS, out)
}

// reject refuses a request of which the owner has not heard.
func (a *AC) reject(s *session, kind Refusal, why string, out *Output) {
	a.refuse(s, kind, why, out)
	out.Refused = append(out.Refused, Refused{s.request.client, why})
}

func (a *AC) send(frame []byte, code Code, out *Output) {
	a.counts.Out.add(code)
	out.Frames = append(out.Frames, frame)
}

func (a *AC) drop(client MAC, why Drop, out *Output) {
	a.counts.Dropped[why]++
	out.Dropped = append(out.Dropped, Dropped{client, why})
}
