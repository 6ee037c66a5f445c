package radius

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	codec "layeh.com/radius"
)

// recorder is a Handler that says what it is told to, and keeps what it was asked.
type recorder struct {
	mu      sync.Mutex
	outcome Outcome
	matches []Match
	changes []Change
	hold    chan struct{} // nil: answers at once
}

func (r *recorder) Disconnect(ctx context.Context, m Match) Outcome {
	return r.Change(ctx, m, Change{})
}

func (r *recorder) Change(ctx context.Context, m Match, c Change) Outcome {
	r.mu.Lock()
	r.matches, r.changes = append(r.matches, m), append(r.changes, c)
	hold, outcome := r.hold, r.outcome
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return NoResources
		}
	}
	return outcome
}

func (r *recorder) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.matches)
}

// seen gives what it was asked.
func (r *recorder) seen() ([]Match, []Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.matches), slices.Clone(r.changes)
}

// say changes what it says.
func (r *recorder) say(o Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome = o
}

// operator sends requests to a Listener.
type operator struct {
	t    *testing.T
	l    *Listener
	conn *net.UDPConn
}

func newOperator(t *testing.T, cfg ListenConfig) *operator {
	t.Helper()
	cfg.Address = netip.MustParseAddrPort("127.0.0.1:0")
	if cfg.Peers == nil {
		cfg.Peers = []Peer{
			{From: rangeOf("127.0.0.0/8"), Secret: secretOf("wide")},
			{From: rangeOf("127.0.0.1/32"), Secret: secretOf(vectorSecret)},
		}
	}
	l, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &operator{t: t, l: l, conn: dial(t, l)}
}

// dial gives a socket of an operator's own.
func dial(t *testing.T, l *Listener) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (o *operator) send(b []byte) {
	o.t.Helper()
	if _, err := o.conn.Write(b); err != nil {
		o.t.Fatal(err)
	}
}

// receive gives the next answer, which must be authentic.
func (o *operator) receive(request []byte) *codec.Packet {
	o.t.Helper()
	buf := make([]byte, receiveSize)
	if err := o.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		o.t.Fatal(err)
	}
	n, err := o.conn.Read(buf)
	if err != nil {
		o.t.Fatal(err)
	}
	p, err := believe(buf[:n], []byte(vectorSecret), authenticator(request[4:headerSize]), false)
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

// ask sends a request and checks code and Error-Cause of the answer.
func (o *operator) ask(request []byte, code codec.Code, cause Outcome) *codec.Packet {
	o.t.Helper()
	o.send(request)
	p := o.receive(request)
	got, _ := readNumber(p.Get(101))
	if p.Code != code || Outcome(got) != cause || p.Identifier != request[1] {
		o.t.Errorf("% x: %v, %v", request, p.Code, Outcome(got))
	}
	return p
}

// request makes a signed request.
func request(code codec.Code, id byte, attrs ...*codec.AVP) []byte {
	b, err := sign(&codec.Packet{Code: code, Identifier: id, Secret: []byte(vectorSecret), Attributes: attrs})
	if err != nil {
		panic(err)
	}
	// The authenticator of a request covers the Message-Authenticator, which was made with zeros for it.
	return b
}

// plain makes a request without Message-Authenticator.
func plain(code codec.Code, id byte, attrs ...*codec.AVP) []byte {
	b, err := (&codec.Packet{Code: code, Identifier: id, Secret: []byte(vectorSecret), Attributes: attrs}).Encode()
	if err != nil {
		panic(err)
	}
	return b
}

const (
	disconnect = codec.CodeDisconnectRequest
	change     = codec.CodeCoARequest
)

func vectorClock() time.Time { return time.Unix(0x6553f100+10, 0) }

// V21-V23 over the wire; P243, P244.
func TestRequestsOfRadclientAreObeyed(t *testing.T) {
	t.Parallel()
	h := &recorder{outcome: NotFound}
	o := newOperator(t, ListenConfig{Handler: h, Now: vectorClock, Timeout: wait})
	p := o.ask(octets(t, disconnectV21), codec.CodeDisconnectNAK, NotFound)
	if p.Attributes[0].Type != 80 {
		t.Error("a signed request gets an unsigned answer")
	}
	h.say(Done)
	o.ask(octets(t, changeV23), codec.CodeCoAACK, Done)
	matches, changes := h.seen()
	same(t, []Match{{User: "mchiba", SessionID: "90233456"}, {User: "mchiba"}}, matches)
	same(t, []Change{{}, {SessionTimeout: pointer(time.Minute)}}, changes)
	if n := o.l.Counters(); n.Acked != 1 || n.Naked != 1 || n.Disconnects != 1 || n.Changes != 1 {
		t.Errorf("%+v", n)
	}
}

// P246.
func TestEveryIdentificationIsUnderstood(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	o := newOperator(t, ListenConfig{Handler: h, NAS: NAS{
		Identifier: "nas", IPv4: netip.MustParseAddr("192.0.2.1"), IPv6: netip.MustParseAddr("2001:db8::1"),
	}})
	o.ask(request(
		disconnect, 1, avp(1, "u"), num(5, 3), num(8, 0xc0000209), avp(30, "called"), avp(31, "calling"), avp(44, "s"), avp(50, "m"),
		avp(87, "p"), avp(89, "c"), avp(96, "\x00\x00\x00\x00\x00\x00\x00\x07"), avp(97, "\x00\x40\x20\x01\x0d\xb8"),
		avp(32, "nas"), num(4, 0xc0000201), avp(95, string(netip.MustParseAddr("2001:db8::1").AsSlice())), avp(18, "bye"), avp(25, "class"),
	), codec.CodeDisconnectACK, Done)
	matches, _ := h.seen()
	same(t, []Match{{
		User: "u", Port: pointer(uint32(3)), Address: netip.MustParseAddr("192.0.2.9"), CalledStation: "called", CallingStation: "calling",
		SessionID: "s", MultiSessionID: "m", PortID: "p", ChargeableUser: "c", InterfaceID: pointer(uint64(7)),
		IPv6Prefix: netip.MustParsePrefix("2001:db8::/64"),
	}}, matches)
}

func TestEveryChangeIsUnderstood(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	o := newOperator(t, ListenConfig{Handler: h})
	o.ask(request(
		change, 1, avp(44, "s"), num(27, 60), num(28, 30), num(85, 300), avp(11, "a"), avp(11, "b"), avp(25, "c"), num(62, 1), num(12, 1400), avp(88, "p"),
	), codec.CodeCoAACK, Done)
	_, changes := h.seen()
	same(t, []Change{{
		SessionTimeout: pointer(time.Minute), IdleTimeout: pointer(30 * time.Second), InterimInterval: pointer(5 * time.Minute),
		FilterIDs: []string{"a", "b"}, Class: [][]byte{[]byte("c")}, PortLimit: pointer(uint32(1)), MTU: pointer(uint32(1400)), Pool: pointer("p"),
	}}, changes)
}

// P243-P246: none of these reaches the handler.
func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	o := newOperator(t, ListenConfig{Handler: h, NAS: NAS{Identifier: "nas", IPv4: netip.MustParseAddr("192.0.2.1")}})
	id := byte(0)
	for name, c := range map[string]struct {
		code  codec.Code
		attrs []*codec.AVP
		cause Outcome
	}{
		"unsupported attribute":     {change, []*codec.AVP{avp(1, "u"), num(27, 1), num(200, 1)}, Unsupported},
		"unknown vendor":            {change, []*codec.AVP{avp(1, "u"), num(27, 1), avp(26, "\x00\x00\x00\x09\x01\x03a")}, Unsupported},
		"disconnect with a timeout": {disconnect, []*codec.AVP{avp(1, "u"), num(27, 1)}, Unsupported},
		"no session":                {disconnect, nil, Missing},
		"only a NAS":                {disconnect, []*codec.AVP{avp(32, "nas")}, Missing},
		"no change":                 {change, []*codec.AVP{avp(1, "u")}, Missing},
		"interface without prefix":  {disconnect, []*codec.AVP{avp(96, "12345678")}, Missing},
		"another NAS":               {disconnect, []*codec.AVP{avp(1, "u"), avp(32, "other")}, OtherNAS},
		"another address":           {disconnect, []*codec.AVP{avp(1, "u"), num(4, 1)}, OtherNAS},
		"another IPv6 address":      {disconnect, []*codec.AVP{avp(1, "u"), avp(95, "1234567890123456")}, OtherNAS},
		"two users":                 {disconnect, []*codec.AVP{avp(1, "u"), avp(1, "v")}, InvalidRequest},
		"a service":                 {change, []*codec.AVP{avp(1, "u"), num(6, 17)}, UnsupportedType},
		"short timeout":             {change, []*codec.AVP{avp(1, "u"), avp(27, "abc")}, BadValue},
		"empty user":                {disconnect, []*codec.AVP{avp(1, "")}, BadValue},
		"long address":              {disconnect, []*codec.AVP{avp(8, "12345")}, BadValue},
	} {
		id++
		nak := codec.CodeDisconnectNAK
		if c.code == change {
			nak = codec.CodeCoANAK
		}
		t.Log(name)
		o.ask(request(c.code, id, c.attrs...), nak, c.cause)
	}
	if h.asked() != 0 {
		t.Errorf("asked %d times", h.asked())
	}
}

// P245: the answer is the same, and nothing is done twice, also while it is being done, and from another port.
func TestRepeatsAreNotObeyedTwice(t *testing.T) {
	t.Parallel()
	h := &recorder{hold: make(chan struct{})}
	o := newOperator(t, ListenConfig{Handler: h, Now: vectorClock})
	for _, b := range [][]byte{octets(t, disconnectV21), octets(t, changeV23)} {
		asked, duplicates := h.asked(), o.l.Counters().Duplicates
		o.send(b)
		o.send(b)
		eventually(t, "the repeat is noticed", func() bool { return o.l.Counters().Duplicates == duplicates+1 && h.asked() == asked+1 })
		h.hold <- struct{}{}
		first := o.receive(b)
		o.send(b)
		again := o.receive(b)
		if h.asked() != asked+1 || first.Authenticator != again.Authenticator {
			t.Errorf("asked %d times", h.asked()-asked)
		}
	}
	// V21 has a time: it cannot be replayed from another port.
	replay := &operator{t: t, l: o.l, conn: dial(t, o.l)}
	replay.send(octets(t, disconnectV21))
	replay.receive(octets(t, disconnectV21))
	if h.asked() != 2 {
		t.Error("a replay is obeyed")
	}
}

func TestEqualRequestsMuchLaterAreNew(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	h := &recorder{}
	o := newOperator(t, ListenConfig{Handler: h, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	for range 2 {
		o.ask(request(disconnect, 1, avp(1, "u")), codec.CodeDisconnectACK, Done)
		mu.Lock()
		now = now.Add(repeatsFor + time.Second)
		mu.Unlock()
	}
	if h.asked() != 2 {
		t.Error("it is taken for a repeat")
	}
}

// P245: silence, and a counter for each.
func TestWhatIsNotAuthenticIsDropped(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	o := newOperator(t, ListenConfig{Handler: h, Now: vectorClock, Peers: []Peer{{From: rangeOf("127.0.0.1"), Secret: secretOf(vectorSecret), Signed: true}}, RequireTimestamp: true})
	good := octets(t, disconnectV21)
	changed := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	resealed := func(b []byte) []byte { // as somebody would who knows how to make the one authenticator, but not the other
		copy(b[4:], digest(b, []byte(vectorSecret), authenticator{}))
		return b
	}
	at := func(s int) *codec.AVP { return num(55, uint32(0x6553f100+10+s)) }
	for name, c := range map[string]struct {
		packet []byte
		count  func(n ListenerCounters) uint64
	}{
		"changed attribute":     {changed(25), func(n ListenerCounters) uint64 { return n.BadAuthenticators }},
		"changed authenticator": {changed(5), func(n ListenerCounters) uint64 { return n.BadAuthenticators }},
		"changed signature":     {resealed(changed(len(good) - 1)), func(n ListenerCounters) uint64 { return n.BadAuthenticators }},
		"unsigned":              {plain(disconnect, 1, avp(1, "u"), at(0)), func(n ListenerCounters) uint64 { return n.Unsigned }},
		"too old":               {request(disconnect, 2, avp(1, "u"), at(-301)), func(n ListenerCounters) uint64 { return n.Old }},
		"of the future":         {request(disconnect, 3, avp(1, "u"), at(301)), func(n ListenerCounters) uint64 { return n.Old }},
		"without a time":        {request(disconnect, 4, avp(1, "u")), func(n ListenerCounters) uint64 { return n.Old }},
		"another code":          {plain(codec.CodeAccountingRequest, 5), func(n ListenerCounters) uint64 { return n.Malformed }},
		"short":                 {good[:19], func(n ListenerCounters) uint64 { return n.Malformed }},
		"cut":                   {good[:len(good)-1], func(n ListenerCounters) uint64 { return n.Malformed }},
	} {
		before := c.count(o.l.Counters())
		o.send(c.packet)
		eventually(t, name, func() bool { return c.count(o.l.Counters()) == before+1 })
	}
	o.ask(request(disconnect, 6, avp(1, "u"), at(-299)), codec.CodeDisconnectACK, Done)
	if h.asked() != 1 {
		t.Errorf("asked %d times", h.asked())
	}
}

func TestUnknownPeersAreDropped(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	o := newOperator(t, ListenConfig{Handler: h, Now: vectorClock, Peers: []Peer{
		{From: rangeOf("192.0.2.0/24"), Secret: secretOf(vectorSecret)},
	}})
	o.send(octets(t, disconnectV21))
	eventually(t, "it is counted", func() bool { return o.l.Counters().UnknownPeers == 1 })
	if h.asked() != 0 {
		t.Error("it is obeyed")
	}
}

func TestProxyStatesComeBackInOrder(t *testing.T) {
	t.Parallel()
	o := newOperator(t, ListenConfig{Handler: &recorder{outcome: ManySessions}})
	p := o.ask(plain(disconnect, 1, avp(33, "one"), avp(1, "u"), avp(33, "two"), avp(33, "one")), codec.CodeDisconnectNAK, ManySessions)
	var all []string
	for _, a := range p.Attributes {
		if a.Type == 33 {
			all = append(all, string(a.Attribute))
		}
	}
	if !slices.Equal(all, []string{"one", "two", "one"}) || p.Get(80) != nil {
		t.Errorf("%q", all)
	}
}

// On a socket for all addresses, too, an answer leaves from the address that was asked.
func TestAnswersLeaveFromTheAddressThatWasAsked(t *testing.T) {
	t.Parallel()
	for _, all := range []string{"0.0.0.0", "::"} {
		l, err := Listen(ListenConfig{
			Address: netip.AddrPortFrom(netip.MustParseAddr(all), 0), Handler: &recorder{}, Peers: []Peer{
				{From: rangeOf("127.0.0.0/8"), Secret: secretOf(vectorSecret)},
				{From: rangeOf("::1/128"), Secret: secretOf(vectorSecret)},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		for id, to := range []string{"127.0.0.1", "127.0.0.99", "::1"} {
			if all == "0.0.0.0" && to == "::1" {
				continue
			}
			// Connected: from another address, nothing would come in.
			conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(to), l.Addr().Port())))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			o := &operator{t: t, l: l, conn: conn}
			o.ask(request(disconnect, byte(id), avp(1, "u")), codec.CodeDisconnectACK, Done)
		}
	}
}

func TestTooManyRequestsAreRefused(t *testing.T) {
	t.Parallel()
	h := &recorder{hold: make(chan struct{})}
	o := newOperator(t, ListenConfig{Handler: h, Timeout: wait})
	for i := range maxRequests {
		o.send(request(disconnect, byte(i), avp(1, "u")))
	}
	eventually(t, "all are at work", func() bool { return h.asked() == maxRequests })
	late := request(disconnect, 200, avp(1, "u"))
	o.ask(late, codec.CodeDisconnectNAK, NoResources)
	close(h.hold)
	for range maxRequests { // in any order
		if _, err := o.conn.Read(make([]byte, receiveSize)); err != nil {
			t.Fatal(err)
		}
	}
	o.ask(late, codec.CodeDisconnectACK, Done) // its second try
	if n := o.l.Counters(); n.Busy != 1 || n.Acked != maxRequests+1 {
		t.Errorf("%+v", n)
	}
}

func TestMemoryOfRepeatsIsBounded(t *testing.T) {
	t.Parallel()
	o := newOperator(t, ListenConfig{Handler: &recorder{}})
	now := time.Unix(1000, 0)
	for i := range 3 * maxRemembered {
		r := &remembered{key: requestKey{authenticator: authenticator{byte(i), byte(i >> 8), byte(i >> 16)}}, until: now.Add(time.Hour)}
		if _, repeat := o.l.remember(r, now); repeat {
			t.Fatal("it is new")
		}
	}
	if len(o.l.known) != maxRemembered || o.l.age.Len() != maxRemembered {
		t.Error(len(o.l.known), o.l.age.Len())
	}
}

// What a handler has done, or not, is still said when it ends with the Listener.
func TestClosingEndsHandlers(t *testing.T) {
	t.Parallel()
	h := &recorder{hold: make(chan struct{})}
	o := newOperator(t, ListenConfig{Handler: h, Timeout: wait})
	b := request(disconnect, 1, avp(1, "u"))
	o.send(b)
	eventually(t, "it is at work", func() bool { return h.asked() == 1 })
	if err := o.l.Close(); err != nil {
		t.Error(err)
	}
	if n := o.l.Counters(); n.SendErrors != 0 || n.Naked != 1 {
		t.Fatalf("%+v", n)
	}
	if p := o.receive(b); p.Code != codec.CodeDisconnectNAK {
		t.Errorf("%v", p.Code)
	}
}

func TestListenConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	any := netip.MustParseAddrPort("127.0.0.1:0")
	for _, cfg := range []ListenConfig{
		{Address: any},
		{Address: any, Handler: &recorder{}, Peers: []Peer{{From: rangeOf("::/0")}}},
		{Address: netip.MustParseAddrPort("192.0.2.1:1"), Handler: &recorder{}},
	} {
		if l, err := Listen(cfg); err == nil {
			_ = l.Close()
			t.Errorf("%+v is taken", cfg)
		}
	}
}

// FuzzDemand: whatever an authentic request holds, it is refused or names a session, and it can be answered.
func FuzzDemand(f *testing.F) {
	f.Add(octets(f, disconnectV21)[headerSize:], false)
	f.Add(octets(f, changeV23)[headerSize:], true)
	f.Add([]byte("\x21\x05abc\x60\x0a12345678\x06\x06\x00\x00\x00\x11"), true)
	f.Fuzz(func(t *testing.T, b []byte, coa bool) {
		code := disconnect
		if coa {
			code = change
		}
		attrs, err := codec.ParseAttributes(b)
		if err != nil || len(b) > codec.MaxPacketLength-headerSize {
			return
		}
		var d demand
		o := d.read(&codec.Packet{Code: code, Attributes: attrs}, NAS{Identifier: "nas"})
		m := d.match
		named := m.User != "" || m.SessionID != "" || m.MultiSessionID != "" || m.Address.IsValid() || m.Port != nil || m.PortID != "" ||
			m.CallingStation != "" || m.CalledStation != "" || m.ChargeableUser != "" || m.IPv6Prefix.IsValid()
		if o == Done && !named {
			t.Errorf("%+v names no session", m)
		}
		if a, err := d.answer(o, []byte("secret"), 1, authenticator{}); err == nil {
			if _, err := believe(a, []byte("secret"), authenticator{}, d.signed); err != nil {
				t.Errorf("% x: %v", a, err)
			}
		}
	})
}
