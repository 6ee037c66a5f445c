package call

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// world is what stands around one call: its owner, who carries out operations when the test says so, and the far end of its
// PPP link. Everything that comes out of the call is written to the transcript.
type world struct {
	t    *testing.T
	now  Time
	call *Call
	out  Output

	far     *ppp.Link
	farOut  ppp.Output
	farDead bool // no frame gets through, either way
	loop    bool // the line is looped back
	onFar   func(ppp.Event)
	toFar   [][]byte
	toCall  [][]byte

	ops         []Op   // begun by the call and not answered
	unavailable bool   // nobody can be asked about logins
	users       string // the password that authorizes anybody
	fixed       netip.Addr
	userRoutes  []netip.Prefix
	give        netip.Addr // answer to OpAddress
	noIPv6      error      // how the network fails to set IPv6 up
	prefix      netip.Prefix
	behind      netip.Prefix
	noPrefix    string   // why there are none
	exhausted   string   // which pool of addresses
	route       []string // where the call goes, one question after the other; the last holds for all others
	begun       bool     // the subscriber has begun anew: the owner gives the question up
	anew        bool     // he is to, while it is asked where his call goes
	idle        time.Duration
	deaf        bool  // the kernel has given up decrypting
	unsure      error // why the kernel does not say whether it has
	async       bool  // says ICCN or OCCN
	established int   // times that the control connection has said so

	lines    []string
	commands []control.Command
	events   []Event
	released int // OpRelease begun
	broken   []string
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// keyed makes repeatable entropy.
func keyed(seed int64) *rand.Rand { return rand.New(rand.NewSource(seed)) }

// params are those of a dial-in call that we terminate.
func params(role control.Role) Params {
	return Params{
		Name: "branch", Role: role, Tunnel: 10, PeerTunnel: 20, Session: 1,
		Reply: &control.CallInfo{},
		PPP: &ppp.Config{
			Random: keyed(1), Name: "us", Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5}, IPv4: ppp.IPv4Own, Local: addr("10.0.0.1"),
		},
		Interface: "branch", MTU: 1460, Endpoint: addr("192.0.2.1"),
	}
}

// farConfig is that of a caller who has a name and wants an address.
func farConfig() ppp.Config {
	return ppp.Config{
		Random: keyed(2), User: "bob", Password: []byte("secret"), Answer: []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP},
		IPv4: ppp.IPv4Request,
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, now: time.Hour, users: "secret", give: addr("10.0.0.2")}
}

// begin makes the call and the far end, whose link waits for the session.
func (w *world) begin(p Params, far ppp.Config, required bool) {
	w.call = New(p, 7, required, &w.out)
	w.collect()
	w.far = ppp.Open(&far, w.now, &w.farOut)
	w.collectFar()
}

func (w *world) say(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// wrong notes a broken rule.
func (w *world) wrong(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// downs counts the EvDown so far, gone the EvGone.
func (w *world) downs() (downs, gone int) {
	for _, ev := range w.events {
		switch ev.(type) {
		case EvDown:
			downs++
		case EvGone:
			gone++
		case EvUp, EvRouteStale, EvUnchecked, EvAnomaly:
		}
	}
	return downs, gone
}

// collect takes what the call put out, in the order that Output promises, and holds it against the rules.
func (w *world) collect() {
	for _, c := range w.out.Commands {
		if w.released > 0 {
			w.wrong("command after OpRelease: %s", commandText(c))
		}
		w.commands = append(w.commands, c)
		w.say("command %s", commandText(c))
	}
	for _, f := range w.out.Frames {
		if w.released > 0 {
			w.wrong("frame after OpRelease: %s", ppp.Summary(f))
		}
		w.say("send %s", ppp.Summary(f))
		if w.loop {
			w.toCall = append(w.toCall, slices.Clone(f))
		} else if !w.farDead {
			w.toFar = append(w.toFar, slices.Clone(f))
		}
	}
	for _, op := range w.out.Ops {
		if w.released > 0 {
			w.wrong("operation after OpRelease: %s", opText(op))
		}
		if _, ok := op.(OpRelease); ok {
			w.released++
		}
		w.ops = append(w.ops, op)
		w.say("op %s", opText(op))
	}
	for _, ev := range w.out.Events {
		if _, stale := ev.(EvRouteStale); stale {
			w.begun = true
		}
		if _, gone := w.downs(); gone > 0 {
			w.wrong("event after EvGone: %s", eventText(ev))
		}
		w.events = append(w.events, ev)
		w.say("event %s", eventText(ev))
	}
	w.out.Reset()
}

func (w *world) collectFar() {
	for _, f := range w.farOut.Frames {
		if !w.farDead && !w.loop {
			w.toCall = append(w.toCall, slices.Clone(f))
		}
	}
	for _, ev := range w.farOut.Events {
		switch ev := ev.(type) {
		case ppp.EvAuthRequest:
			w.farOut.Reset()
			w.far.Do(w.now, ppp.CmdAuthResult{Attempt: ev.Attempt, OK: true}, &w.farOut)
			w.collectFar()
			return
		case ppp.EvAddressWanted:
			w.farOut.Reset()
			w.far.Do(w.now, ppp.CmdAddress{Peer: addr("10.0.0.9")}, &w.farOut)
			w.collectFar()
			return
		case ppp.EvEncryptionWanted:
			w.farOut.Reset()
			w.far.Do(w.now, ppp.CmdEncryption{Attempt: ev.Attempt, OK: true}, &w.farOut)
			w.collectFar()
			return
		case ppp.EvLinkUp, ppp.EvAuthenticated, ppp.EvNetworkUp, ppp.EvNetworkDown, ppp.EvLinkDown, ppp.EvIdleCheck, ppp.EvAnomaly,
			ppp.EvHeld, ppp.EvLCPDown, ppp.EvUnjudged, ppp.EvEncryptionUp, ppp.EvEncryptionDown, ppp.EvDecryptionCheck:
			if w.onFar != nil {
				w.onFar(ev)
			}
		}
	}
	w.farOut.Reset()
}

// done answers the oldest operation as a healthy owner does, or with err.
func (w *world) done(err error) {
	op := w.ops[0]
	w.ops = w.ops[1:]
	r := Result{Err: err}
	if err == nil {
		r = w.result(op)
	}
	w.call.Done(w.now, op, r, &w.out)
	w.collect()
}

func (w *world) result(op Op) Result {
	switch op := op.(type) {
	case OpAttach:
		return Result{Interface: op.Interface}
	case OpAuthorize:
		r := op.Request
		if w.unavailable {
			return Result{Unavailable: true, Message: "authentication is not available", Why: `user "bob": no RADIUS server answers`}
		}
		ok := r.Method == ppp.AuthPAP && string(r.Password) == w.users ||
			r.Method == ppp.AuthCHAPMD5 && ppp.CHAPMD5(r.ID, []byte(w.users), r.Challenge) == [16]byte(r.Response)
		if x, solved := ppp.SolveMSCHAP(r.Method, r.Name, []byte(w.users), r.Challenge, r.Response); solved {
			return Result{OK: true, User: r.Name, Success: x.Success, Keys: x.Keys}
		}
		if !ok {
			return Result{Message: "login incorrect"}
		}
		return Result{OK: true, User: r.Name, UserIPv4: w.fixed, Routes: w.userRoutes}
	case OpAddress:
		return Result{Address: w.give, Full: w.exhausted != "", Message: w.exhausted}
	case OpPrefixes:
		return Result{Link: w.prefix, Delegated: w.behind, Message: w.noPrefix}
	case OpRoute:
		return w.routes()
	case OpIdle:
		return Result{Idle: w.idle}
	case OpDecryption:
		return Result{Broken: w.deaf, Err: w.unsure}
	case OpNetwork:
		if op.Network.IPv6 {
			return Result{NoIPv6: w.noIPv6}
		}
	case OpCreate, OpSequencing, OpArm, OpEncrypt, OpDisarm, OpRun, OpHangUp, OpACCM, OpBridge, OpRelease:
	}
	return Result{}
}

// routes answers OpRoute.
func (w *world) routes() Result {
	if w.begun {
		w.begun = false
		return Result{Why: "the subscriber begins anew"}
	}
	if len(w.route) == 0 {
		w.route = []string{"nowhere"}
	}
	where := w.route[0]
	if len(w.route) > 1 {
		w.route = w.route[1:]
	}
	switch where {
	case "here":
		return Result{Route: RouteHere}
	case "there": // by another template
		p := accessParams()
		p.PPP.Local, p.MTU, p.Interface = addr("10.9.0.1"), 1400, "other"
		return Result{Route: RouteHere, Here: &p}
	case "bridged":
		return Result{Route: RouteBridged, User: "bob"}
	case "rejected":
		return Result{Route: RouteRejected, Message: "access denied", Why: `a rule rejects user "bob"`, Cause: "rejected"}
	}
	return Result{Message: "no LNS takes the call", Why: "no LNS takes the call: 192.0.2.9: it does not answer"}
}

// connected says whether the session is established as far as the control connection goes: our answer is out.
func (w *world) connected() bool {
	role := w.call.p.Role
	return slices.ContainsFunc(w.commands, func(c control.Command) bool {
		switch c.(type) {
		case control.CmdAcceptSession:
			return role == control.LNSIncoming
		case control.CmdConnectSession:
			return true
		}
		return false
	}) || role == control.LNSOutgoing && w.call.createdOK
}

func (w *world) establish(required bool) {
	w.established++
	w.call.Established(w.now, Connected{Required: required, Async: w.async}, &w.out)
	w.collect()
}

// step does the one thing that comes next: an operation ends, the control connection goes on, a frame arrives, or the next
// deadline comes if it is not later than limit. It reports false when there is nothing left to do.
func (w *world) step(limit Time, fail error) bool {
	switch {
	case w.anew && w.asksWhere():
		w.beginAnew()
	case len(w.ops) > 0:
		w.done(fail)
	case w.established == 0 && w.released == 0 && w.connected():
		w.establish(false)
	case len(w.toFar) > 0:
		f := w.toFar[0]
		w.toFar = w.toFar[1:]
		w.far.Receive(w.now, f, &w.farOut)
		w.collectFar()
	case len(w.toCall) > 0:
		f := w.toCall[0]
		w.toCall = w.toCall[1:]
		w.call.Receive(w.now, f, &w.out)
		w.collect()
	default:
		return w.pass(limit)
	}
	return true
}

// asksWhere says that OpRoute is not answered.
func (w *world) asksWhere() bool {
	return slices.ContainsFunc(w.ops, func(op Op) bool { _, ok := op.(OpRoute); return ok })
}

// beginAnew has another subscriber at the far end, who knows nothing of the first.
func (w *world) beginAnew() {
	w.anew = false
	far := farConfig()
	far.Random, far.MRU = keyed(3), 1400
	w.toFar, w.toCall = nil, nil
	w.far = ppp.Open(&far, w.now, &w.farOut)
	w.collectFar()
	for len(w.toCall)+len(w.toFar) > 0 { // until he has logged in
		if len(w.toCall) > 0 {
			f := w.toCall[0]
			w.toCall = w.toCall[1:]
			w.call.Receive(w.now, f, &w.out)
			w.collect()
			continue
		}
		f := w.toFar[0]
		w.toFar = w.toFar[1:]
		w.far.Receive(w.now, f, &w.farOut)
		w.collectFar()
	}
}

// pass lets time pass up to the next deadline of either end.
func (w *world) pass(limit Time) bool {
	mine, theirs := w.call.Deadline(), w.far.Deadline()
	at := mine
	if at == 0 || theirs != 0 && theirs < at {
		at = theirs
	}
	if at == 0 || at > limit {
		return false
	}
	w.now = max(w.now, at)
	if mine != 0 && mine <= w.now {
		w.call.Expire(w.now, &w.out)
		w.collect()
	}
	if theirs != 0 && theirs <= w.now {
		w.far.Expire(w.now, &w.farOut)
		w.collectFar()
	}
	return true
}

// run goes on for a time.
func (w *world) run(d time.Duration) {
	limit := w.now + d
	for w.step(limit, nil) {
	}
	w.now = limit
}

func commandText(c control.Command) string {
	switch c := c.(type) {
	case control.CmdAcceptSession:
		return "accept" + callText(c.Call)
	case control.CmdConnectSession:
		return "connect" + callText(c.Call)
	case control.CmdCloseSession:
		s := "close " + c.Result.CDNString()
		if len(c.DisconnectCause) > 0 {
			s += fmt.Sprintf(" disconnect=%x", c.DisconnectCause)
		}
		return s
	case control.CmdSendSLI:
		return fmt.Sprintf("SLI send=%08x receive=%08x", c.Send, c.Receive)
	}
	return fmt.Sprintf("%T", c)
}

func callText(c control.CallInfo) string {
	if c.SequencingRequired {
		return " sequencing-required"
	}
	return ""
}

func opText(op Op) string {
	switch op := op.(type) {
	case OpCreate:
		return fmt.Sprintf("create %d/%d%s", op.Session, op.Peer, sequencingText(op.Sequencing))
	case OpAttach:
		return fmt.Sprintf("attach %s mtu=%d", op.Interface, op.MTU)
	case OpSequencing:
		return "sequencing" + sequencingText(op.Sequencing)
	case OpNetwork:
		n := op.Network
		var b strings.Builder
		fmt.Fprintf(&b, "network %s mtu=%d", n.Interface, n.MTU)
		if n.IPv4 {
			fmt.Fprintf(&b, " ipv4=%v>%v", n.Local, n.Peer)
		}
		if n.IPv6 {
			fmt.Fprintf(&b, " ipv6=%v>%v", n.LocalIPv6, n.PeerIPv6)
		}
		for _, r := range n.Routes {
			fmt.Fprintf(&b, " route=%v", r)
		}
		return b.String()
	case OpAuthorize:
		return fmt.Sprintf("authorize %v %q", op.Request.Method, op.Request.Name)
	case OpAddress:
		return fmt.Sprintf("address user=%q wanted=%v", op.User, op.Wanted)
	case OpPrefixes:
		return fmt.Sprintf("prefixes user=%q", op.User)
	case OpRun:
		return fmt.Sprintf("run peer=%v", op.Peer)
	case OpHangUp:
		return "hang up"
	case OpArm:
		return fmt.Sprintf("arm attempt=%d required=%v mru=%d", op.Wanted.Attempt, op.Wanted.Required, op.MRU)
	case OpEncrypt:
		return fmt.Sprintf("encrypt required=%v", op.Required)
	case OpDisarm:
		return "disarm"
	case OpDecryption:
		return fmt.Sprintf("decryption attempt=%d", op.Attempt)
	case OpIdle:
		return "idle"
	case OpRoute:
		login := "without a login"
		if op.LoggedIn {
			login = fmt.Sprintf("%v %q", op.Login.Method, op.Login.Name)
		}
		if x := op.Proxy; x != nil {
			return fmt.Sprintf("route %s, told: %v", login, x)
		}
		return "route " + login
	case OpBridge:
		return "bridge"
	case OpACCM:
		return fmt.Sprintf("accm send=%08x receive=%08x", op.Send, op.Receive)
	case OpRelease:
		return "release"
	}
	return fmt.Sprintf("%T", op)
}

func sequencingText(q Sequencing) string {
	s := ""
	for _, x := range []struct {
		name string
		on   bool
	}{{" send", q.Send}, {" require", q.Require}, {" lns", q.LNS}} {
		if x.on {
			s += x.name
		}
	}
	return s
}

func eventText(ev Event) string {
	switch ev := ev.(type) {
	case EvUp:
		return fmt.Sprintf("up %s user=%q %v>%v", ev.Interface, ev.User, ev.Local, ev.Peer)
	case EvDown:
		s := fmt.Sprintf("down stage=%q cause=%s text=%q", ev.Stage, ev.Cause, ev.Text)
		for _, x := range []struct {
			name string
			on   bool
		}{{" asked", ev.Asked}, {" by-peer", ev.ByPeer}, {" idle", ev.Idle}} {
			if x.on {
				s += x.name
			}
		}
		return s
	case EvGone:
		return "gone"
	case EvRouteStale:
		return "route stale"
	case EvUnchecked:
		return fmt.Sprintf("unchecked %q", ev.Why)
	case EvRelay:
		return "relay " + ppp.Summary(ev.Frame)
	case EvAnomaly:
		return fmt.Sprintf("anomaly %q", ev.Text)
	}
	return fmt.Sprintf("%T", ev)
}

// accessParams are those of a subscriber's line.
func accessParams() Params {
	p := params(control.LNSIncoming)
	p.Access, p.Routed, p.Reply, p.Name, p.Interface = true, true, nil, "", "ppp%d"
	p.PPP.Hold, p.PPP.Passive, p.PPP.Line = true, true, ppp.LinePPPoE
	return p
}

// forwardParams are those of the far side of a subscriber's call.
func forwardParams() Params {
	p := params(control.LACIncoming)
	p.Forward, p.Name = true, ""
	return p
}

// lostDown is what an owner says of a session that the peer has ended.
func lostDown() EvDown {
	return EvDown{Stage: StageSession, Cause: "peer", Text: "the peer says: administrative", ByPeer: true}
}

// sequenced are params with a mode of data sequencing.
func sequenced(p Params, s policy.Sequencing) Params {
	p.Sequencing = s
	p.Reply.SequencingRequired = s == policy.SequencingAlways && (p.Role == control.LACIncoming || p.Role == control.LACOutgoing)
	return p
}
