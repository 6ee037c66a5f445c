package ppp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// owner plays what stands above a link: it answers events from its tables.
type owner struct {
	t     *testing.T
	name  string
	cfg   Config
	link  *Link
	out   Output
	users map[string]string // name to password
	give  netip.Addr        // answer to EvAddressWanted; the zero Addr says there is none
	slow  bool              // answers wait for the test
	liar  bool              // lets everybody in, without knowing a password
	blind bool              // cannot judge logins

	kernel kernel
	idle   time.Duration // answer to EvIdleCheck
	up     map[Protocol]EvNetworkUp
	events []Event
	downs  []EvLinkDown
	saved  Record                   // what Output.Persist asked for last
	reopen func(o *owner, now Time) // called after every step; the restore tests exchange the link here
}

// cable joins two owners in virtual time and writes a transcript.
type cable struct {
	t     *testing.T
	a, b  *owner
	now   Time
	rng   *rand.Rand
	delay time.Duration
	// per cent of frames lost, doubled, and delayed by a second or more
	loss, dup, late int
	queue           []flight
	seq             int
	log             strings.Builder
}

type flight struct {
	at    Time
	seq   int
	to    *owner
	frame []byte
}

// keyed makes a repeatable Config.Random.
func keyed(seed int64) *rand.Rand { return rand.New(rand.NewSource(seed)) }

func newOwner(t *testing.T, name string, cfg Config) *owner {
	t.Helper()
	if cfg.Random == nil {
		seed := int64(0)
		for _, c := range name {
			seed = seed*31 + int64(c)
		}
		cfg.Random = keyed(seed)
	}
	return &owner{t: t, name: name, cfg: cfg, users: map[string]string{}, up: map[Protocol]EvNetworkUp{}}
}

func newCable(t *testing.T, a, b *owner) *cable {
	t.Helper()
	return &cable{t: t, a: a, b: b, delay: 10 * time.Millisecond, rng: keyed(1)}
}

// open starts both ends.
func (c *cable) open() {
	c.t.Helper()
	for _, o := range []*owner{c.a, c.b} {
		if o.link == nil { // b may be connected to a LAC already
			o.link = Open(&o.cfg, c.now, &o.out)
		}
		c.drain(o)
	}
}

// stops says whether a LAC has come as far as it goes.
func (o *owner) stops() bool {
	for _, e := range o.events {
		switch e.(type) {
		case EvAuthRequest, EvHeld:
			return true
		}
	}
	return false
}

// callThrough connects b to a LAC that stops when the client has logged in, or has nothing to log in for, and tells a what it knows.
func (c *cable) callThrough(lac Config, x Proxy) {
	c.t.Helper()
	lac.Hold = true
	l := newOwner(c.t, "l", lac)
	l.slow = true
	first := newCable(c.t, l, c.b)
	first.open()
	for !l.stops() && first.next(time.Second) {
	}
	first.run(c.delay / 2) // what is under way at the same time arrives
	c.now = first.now
	c.log.WriteString(first.log.String())
	c.hand(l, x)
}

// hand makes a the LNS that l hands its client to, with the modes of x.
func (c *cable) hand(l *owner, x Proxy) {
	c.t.Helper()
	told := l.link.Proxy()
	if told == nil {
		c.t.Fatalf("the LAC tells nothing:\n%s", c.log.String())
	}
	told.LCP, told.Auth = x.LCP, x.Auth
	c.a.cfg.Proxy = told
	fmt.Fprintf(&c.log, "%8s a: call with %v\n", c.now.Round(time.Millisecond), told)
}

func (c *cable) other(o *owner) *owner {
	if o == c.a {
		return c.b
	}
	return c.a
}

// drain does what the link wants until it wants no more.
func (c *cable) drain(o *owner) {
	c.t.Helper()
	for {
		frames, events := o.out.Frames, o.out.Events
		if o.out.Persist {
			o.saved = o.link.Record()
		}
		o.out = Output{}
		if o.reopen != nil {
			o.reopen(o, c.now)
		}
		if len(frames)+len(events) == 0 {
			return
		}
		for _, f := range frames {
			fmt.Fprintf(&c.log, "%8s %s> %s\n", c.now.Round(time.Millisecond), o.name, Summary(f))
			o.kernel.peek(f, false)
			c.send(o, f)
		}
		for _, e := range events {
			fmt.Fprintf(&c.log, "%8s %s! %s\n", c.now.Round(time.Millisecond), o.name, show(e))
			o.events = append(o.events, e)
			if len(o.downs) > 0 {
				c.t.Errorf("%s: %T after EvLinkDown", o.name, e)
			}
			c.handle(o, e)
		}
	}
}

func (c *cable) send(from *owner, f []byte) {
	if c.rng.Intn(100) < c.loss {
		return
	}
	n := 1
	if c.rng.Intn(100) < c.dup {
		n = 2
	}
	for range n {
		at := c.now + c.delay
		if c.rng.Intn(100) < c.late {
			at += time.Duration(c.rng.Intn(2000)) * time.Millisecond
		}
		c.seq++
		c.queue = append(c.queue, flight{at, c.seq, c.other(from), f})
	}
}

func (c *cable) handle(o *owner, e Event) {
	switch e := e.(type) {
	case EvAuthRequest:
		if !o.slow {
			o.link.Do(c.now, o.judge(e), &o.out)
		}
	case EvHeld:
		if !o.slow {
			o.link.Do(c.now, CmdProceed(e), &o.out)
		}
	case EvAddressWanted:
		if !o.slow {
			o.link.Do(c.now, CmdAddress{Peer: o.give}, &o.out)
		}
	case EvIdleCheck:
		o.link.Do(c.now, CmdIdle{Idle: o.idle}, &o.out)
	case EvDecryptionCheck:
		o.link.Do(c.now, CmdDecryption{Attempt: e.Attempt}, &o.out)
	case EvEncryptionWanted:
		if !o.slow {
			o.link.Do(c.now, o.arm(e), &o.out)
		}
	case EvEncryptionUp:
		o.kernel.up = true
		if !o.kernel.encrypting() {
			c.t.Errorf("%s: encryption is up, the kernel's is not: %+v", o.name, o.kernel)
		}
	case EvEncryptionDown:
		if !o.kernel.open {
			c.t.Errorf("%s: encryption went down without being armed", o.name)
		}
		if o.cfg.MPPE == MPPERequire && len(o.up) > 0 {
			c.t.Errorf("%s: %v outlives encryption", o.name, o.up)
		}
		o.kernel = kernel{broken: o.kernel.broken}
	case EvNetworkUp:
		if o.cfg.MPPE == MPPERequire && !o.kernel.encrypting() {
			c.t.Errorf("%s: %v is up without encryption: %+v", o.name, e.Proto, o.kernel)
		}
		if _, twice := o.up[e.Proto]; twice {
			c.t.Errorf("%s: %v came up twice", o.name, e.Proto)
		}
		o.up[e.Proto] = e
	case EvNetworkDown:
		if _, ok := o.up[e.Proto]; !ok {
			c.t.Errorf("%s: %v went down without being up", o.name, e.Proto)
		}
		delete(o.up, e.Proto)
	case EvLinkDown:
		if len(o.up) > 0 {
			c.t.Errorf("%s: link down with %v still up", o.name, o.up)
		}
		if o.kernel.open {
			c.t.Errorf("%s: link down with the kernel still armed", o.name)
		}
		o.downs = append(o.downs, e)
	case EvLinkUp, EvLCPDown, EvUnjudged, EvAuthenticated, EvAnomaly:
	}
}

func (o *owner) judge(e EvAuthRequest) CmdAuthResult {
	want, known := o.users[e.Name]
	ok := false
	if o.blind {
		return CmdAuthResult{Attempt: e.Attempt, Unjudged: true, Message: "not available"}
	}
	if o.liar {
		return CmdAuthResult{Attempt: e.Attempt, OK: true, Message: "welcome", Success: "S=" + strings.Repeat("0", 40)}
	}
	switch e.Method {
	case AuthPAP:
		ok = known && want == string(e.Password)
	case AuthCHAPMD5:
		sum := CHAPMD5(e.ID, []byte(want), e.Challenge)
		ok = known && string(sum[:]) == string(e.Response)
	case AuthMSCHAPv1, AuthMSCHAPv2:
		x, solved := SolveMSCHAP(e.Method, e.Name, []byte(want), e.Challenge, e.Response)
		if solved && known && string(x.Response[:]) == string(NTResponse(e.Response)) {
			return CmdAuthResult{Attempt: e.Attempt, OK: true, Message: "welcome", Success: x.Success, Keys: x.Keys}
		}
	case AuthNone:
	}
	if ok {
		return CmdAuthResult{Attempt: e.Attempt, OK: true, Message: "welcome"}
	}
	return CmdAuthResult{Attempt: e.Attempt, Message: "go away"}
}

// arm does what EvEncryptionWanted asks for.
func (o *owner) arm(e EvEncryptionWanted) CmdEncryption {
	o.t.Helper()
	if o.kernel.open {
		o.t.Errorf("%s: armed twice", o.name)
	}
	if e.Option != [6]byte{18, 6, 1, 0, 0, 0x40} || e.Required != (o.cfg.MPPE == MPPERequire) {
		o.t.Errorf("%s: asked for %+v", o.name, e)
	}
	o.kernel = kernel{open: true, tx: e.Keys.Send, rx: e.Keys.Recv, broken: o.kernel.broken}
	return CmdEncryption{Attempt: e.Attempt, OK: !o.kernel.broken}
}

// kernel is what ppp_generic knows of encryption, and what it does about the frames of CCP that pass through it.
type kernel struct {
	broken       bool // has no MPPE
	open, up     bool // SC_CCP_OPEN, SC_CCP_UP
	tx, rx       []byte
	txRun, rxRun bool // SC_COMP_RUN, SC_DECOMP_RUN
}

func (k *kernel) encrypting() bool { return k.open && k.up && k.txRun && k.rxRun }

// peek sees a frame come in or go out, as ppp_ccp_peek does.
func (k *kernel) peek(frame []byte, in bool) {
	proto, payload, ok := SplitFrame(frame)
	p, whole := parsePacket(payload)
	if !ok || !whole || proto != ProtoCCP {
		return
	}
	starts := k.open && !k.up && bytes.Equal(p.data, opts("1206 01000040"))
	switch {
	case p.code == codeConfigureRequest && in:
		k.txRun = false
	case p.code == codeConfigureRequest:
		k.rxRun = false
	case p.code == codeTerminateRequest || p.code == codeTerminateAck:
		k.txRun, k.rxRun = false, false
	case p.code == codeConfigureAck && in && starts:
		k.rxRun = len(k.rx) == KeySize
	case p.code == codeConfigureAck && !in && starts:
		k.txRun = len(k.tx) == KeySize
	}
}

// next does the earliest thing; it is false when nothing is left to do.
func (c *cable) next(until Time) bool {
	c.t.Helper()
	at, what := until+1, -1
	for i, f := range c.queue {
		if f.at < at || f.at == at && what >= 0 && f.seq < c.queue[what].seq {
			at, what = f.at, i
		}
	}
	var timer *owner
	for _, o := range []*owner{c.a, c.b} {
		if d := o.link.Deadline(); d != 0 && d < at {
			at, timer = d, o
		}
	}
	if at > until {
		return false
	}
	c.now = max(c.now, at)
	if timer != nil {
		timer.link.Expire(c.now, &timer.out)
		if d := timer.link.Deadline(); d != 0 && d <= c.now {
			c.t.Fatalf("%s: deadline %v not consumed by Expire at %v", timer.name, d, c.now)
		}
		c.drain(timer)
		return true
	}
	f := c.queue[what]
	c.queue = append(c.queue[:what], c.queue[what+1:]...)
	f.to.kernel.peek(f.frame, true)
	f.to.link.Receive(c.now, f.frame, &f.to.out)
	c.drain(f.to)
	return true
}

// run goes on for d or until nothing can happen any more.
func (c *cable) run(d time.Duration) {
	c.t.Helper()
	until := c.now + d
	for n := 0; c.next(until); n++ {
		if n > 200000 {
			c.t.Fatalf("no end in sight at %v:\n%s", c.now, c.log.String()[:min(c.log.Len(), 20000)])
		}
	}
	c.now = until
}

// do gives a command.
func (c *cable) do(o *owner, cmd Command) {
	c.t.Helper()
	fmt.Fprintf(&c.log, "%8s %s: %T\n", c.now.Round(time.Millisecond), o.name, cmd)
	o.link.Do(c.now, cmd, &o.out)
	c.drain(o)
}

// show writes an event without its secrets.
func show(e Event) string {
	switch e := e.(type) {
	case EvLinkUp:
		s := fmt.Sprintf("link up mru=%d peer-mru=%d auth=%v answer=%v", e.MRU, e.PeerMRU, e.Auth, e.Answer)
		if e.ACCM != DefaultACCM || e.PeerACCM != DefaultACCM {
			s += fmt.Sprintf(" accm=%08x peer-accm=%08x", e.ACCM, e.PeerACCM)
		}
		return s
	case EvAuthRequest:
		return fmt.Sprintf("auth request %v name=%q", e.Method, e.Name)
	case EvHeld:
		return "held"
	case EvLCPDown:
		return "LCP down"
	case EvUnjudged:
		return "unjudged"
	case EvAuthenticated:
		return fmt.Sprintf("authenticated peer=%q", e.PeerName)
	case EvEncryptionWanted:
		return fmt.Sprintf("encryption wanted with %v, required=%v", e.Keys, e.Required)
	case EvEncryptionUp:
		return fmt.Sprintf("encryption up, required=%v", e.Required)
	case EvEncryptionDown:
		return "encryption down"
	case EvAddressWanted:
		return fmt.Sprintf("address wanted %v", e.Wanted)
	case EvNetworkUp:
		return fmt.Sprintf("%v up local=%v peer=%v dns=%v", e.Proto, e.Local, e.Peer, e.DNS)
	case EvNetworkDown:
		return fmt.Sprintf("%v down", e.Proto)
	case EvLinkDown:
		return fmt.Sprintf("link down stage=%v reason=%v peer=%v text=%q", e.Stage, e.Reason, e.Peer, e.Text)
	case EvIdleCheck:
		return "idle?"
	case EvDecryptionCheck:
		return "decrypting?"
	case EvAnomaly:
		return "odd: " + e.Text
	}
	return fmt.Sprintf("%T", e)
}

// restart exchanges a link for one restored from its record, through JSON.
func restart(o *owner, now Time) {
	o.t.Helper()
	restartFrom(o, o.link.Record(), now)
}

func restartFrom(o *owner, r Record, now Time) {
	o.t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		o.t.Fatalf("%s: encode record: %v", o.name, err)
	}
	r = Record{}
	if err := json.Unmarshal(b, &r); err != nil {
		o.t.Fatalf("%s: decode record: %v", o.name, err)
	}
	var out Output
	l, err := Restore(r, o.cfg, now, &out)
	if err != nil {
		o.t.Fatalf("%s: %v", o.name, err)
	}
	if len(out.Frames) > 0 {
		o.t.Errorf("%s: Restore sends %d frames", o.name, len(out.Frames))
	}
	o.link = l
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
