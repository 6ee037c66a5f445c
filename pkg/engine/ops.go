package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/ipv6"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// reorder is how long the kernel waits for a missing numbered frame. With none it would drop six for every one that is lost.
const reorder = 30 * time.Millisecond

// pump begins the session's oldest operation if none is under way: they are carried out in order, one at a time.
func (s *session) pump() {
	for !s.busy && len(s.ops) > 0 {
		op := s.ops[0]
		if s.ops = s.ops[1:]; len(s.ops) == 0 {
			s.ops = nil // else its memory would keep the operation
		}
		s.busy = true
		s.start(op)
	}
}

// finished hands the result of op to the call and goes on.
func (s *session) finished(op call.Op, r call.Result) {
	s.busy = false
	if login, ok := op.(call.OpAuthorize); ok && !r.OK && login.User == "" { // whom nobody let in has given a name all the same
		if s.sub == nil {
			s.sub = &subscriber{}
		}
		s.sub.login = login.Request.Name
	}
	s.call.Done(s.sh.now(), op, r, s.output())
	s.flush()
}

// start begins one operation.
func (s *session) start(op call.Op) {
	switch op := op.(type) {
	case call.OpCreate:
		s.create(op)
	case call.OpAttach:
		s.attach(op)
	case call.OpSequencing:
		s.async(op, func() call.Result { return call.Result{Err: s.data.SetSequencing(s.kernelSequencing(op.Sequencing))} })
	case call.OpNetwork:
		if err := s.conflict(op.Network); err != nil {
			s.finished(op, call.Result{Err: err})
			return
		}
		s.netApplied = true
		open := s.waitingPackets()
		s.async(op, func() call.Result {
			r := s.applyNetwork(op.Network)
			if r.Err == nil {
				open(op.Network.IPv4, op.Network.IPv6 && r.NoIPv6 == nil)
			}
			return r
		})
	case call.OpAuthorize:
		s.authorize(op)
	case call.OpAddress:
		s.address(op)
	case call.OpPrefixes:
		s.prefixes(op)
	case call.OpArm:
		s.encrypt(op, func() error { return s.data.ArmCompression(compression(op)) })
	case call.OpEncrypt:
		s.encrypt(op, func() error { return s.data.OpenCompression(op.Required) })
	case call.OpDisarm:
		s.encrypt(op, func() error { return s.data.CloseCompression() })
	case call.OpDecryption:
		s.async(op, func() call.Result {
			broken, err := s.data.CompressionBroken()
			return call.Result{Broken: broken, Err: err}
		})
	case call.OpIdle:
		s.async(op, func() call.Result { // PPP has one lock in the whole machine: who makes an interface meanwhile holds it
			idle, err := s.data.Idle()
			return call.Result{Idle: idle, Err: err}
		})
	case call.OpRoute:
		s.route(op)
	case call.OpBridge:
		s.bridge(op)
	case call.OpACCM:
		s.async(op, func() call.Result { return call.Result{Err: setACCM(s.data, op.Send, op.Receive)} })
	case call.OpRun:
		s.runPppd(op)
	case call.OpHangUp:
		s.async(op, func() call.Result { return call.Result{Err: s.stopPppd()} })
	case call.OpRelease:
		s.release(op)
	}
}

// async runs work in the executor. The session has no other operation under way meanwhile.
func (s *session) async(op call.Op, work func() call.Result) {
	s.sh.ask(func() func() {
		r := work()
		return func() { s.finished(op, r) }
	})
}

// encrypt is async for what an interface does about encryption. One that could not be made has ended the call, and nothing is asked of it.
func (s *session) encrypt(op call.Op, do func() error) {
	if s.index == 0 {
		s.finished(op, call.Result{Err: errors.New("there is no interface")})
		return
	}
	s.async(op, func() call.Result { return call.Result{Err: do()} })
}

func (s *session) kernelSequencing(q call.Sequencing) kernel.Sequencing {
	return kernel.Sequencing{Send: q.Send, Require: q.Require, LNS: q.LNS, Reorder: reorder}
}

// create makes the kernel session. Its frames come back through the inbox.
func (s *session) create(op call.OpCreate) {
	if s.line != nil {
		s.openLine(op)
		return
	}
	if s.t.path != pathReady {
		err := s.t.pathErr
		if err == nil {
			err = errors.New("the tunnel's data path is gone")
		}
		s.finished(op, call.Result{Err: err})
		return
	}
	sh := s.sh
	spec := kernel.SessionSpec{
		TunnelID: uint16(s.t.id), PeerTunnelID: uint16(s.t.ctl.PeerID()),
		SessionID: uint16(s.id), PeerID: uint16(op.Peer),
		Sequencing: s.kernelSequencing(op.Sequencing),
	}
	var to kernel.Receiver
	if !s.outside() { // else what comes before a pppd reads the socket waits there
		to = s
	}
	sh.ask(func() func() {
		data, err := sh.e.cfg.Kernel.CreateSession(spec, to)
		return func() {
			if err == nil {
				s.data = data
			}
			s.finished(op, call.Result{Err: err})
		}
	})
}

// Frame takes a frame of the session to its shard: a session is the Receiver of what the kernel leaves to user space.
func (s *session) Frame(b []byte) {
	sh := s.sh
	if !put(sh.inbox, &sh.inbox.frames, maxFrames, frame{session: s, data: append([]byte(nil), b...)}) {
		sh.e.counts.framesLost.Add(1)
	}
}

// Dead is the kernel's word that the session is gone.
func (s *session) Dead(err error) {
	s.sh.post(func() { s.vanished(err) })
}

// vanished: a kernel object of the session has been deleted by somebody else. The end of a line is the subscriber's going: the kernel may
// know of it before his discovery, or his modem, does.
func (s *session) vanished(err error) {
	switch {
	case s.line == nil:
	case s.line.caller.PPPoE != nil:
		s.hungUp("the kernel has ended the session: the client has, or the interface is down or changed")
		return
	default:
		s.hungUp("the line has hung up: " + err.Error())
		return
	}
	if s.call == nil || s.releasing {
		return
	}
	s.call.Vanished(err, s.output())
	s.flush()
}

func (s *session) attach(op call.OpAttach) {
	s.async(op, func() call.Result {
		u, err := s.data.Attach(kernel.UnitSpec{Name: op.Interface, MTU: op.MTU})
		if s.index = u.Index; err == nil {
			s.fresh = &network.Fresh{Index: u.Index, MTU: op.MTU}
		}
		return call.Result{Err: err, Interface: u.Name}
	})
}

// compression is what the kernel needs of the keys and the option of CCP, of which it wants the value alone.
func compression(op call.OpArm) kernel.Compression {
	return kernel.Compression{
		Send: op.Wanted.Keys.Send, Receive: op.Wanted.Keys.Recv, Options: [4]byte(op.Wanted.Option[2:]), MRU: op.MRU,
	}
}

// owner names the session's share of the network state.
func (s *session) owner() network.Owner {
	if s.line != nil {
		return network.Owner{What: "line", ID: uint32(s.line.id)}
	}
	return network.Owner{What: "session", Tunnel: uint32(s.t.id), ID: uint32(s.id)}
}

// applyNetwork brings addresses and routes up before packets pass, and stops them before they go. It may sleep.
func (s *session) applyNetwork(n call.Network) (r call.Result) {
	pass := func(p kernel.NetworkProtocol, open bool) error {
		if s.process != nil {
			return nil // a pppd lets pass what it has opened
		}
		return s.data.Pass(p, open)
	}
	for _, p := range []struct {
		proto kernel.NetworkProtocol
		open  bool
	}{{kernel.IPv4, n.IPv4}, {kernel.IPv6, n.IPv6}} {
		if !p.open {
			if r.Err = pass(p.proto, false); r.Err != nil {
				return r
			}
		}
	}
	want := network.Interface{
		Name: n.Interface, MTU: n.MTU, Local: n.Local, Peer: n.Peer, LocalIPv6: n.LocalIPv6, PeerIPv6: n.PeerIPv6,
		IPv4: n.IPv4, IPv6: n.IPv6, Routes: n.Routes, Metric: n.Metric, Masquerade: n.Masquerade, MSSClamp: n.MSSClamp,
		Endpoint: n.Endpoint, Fresh: s.fresh,
	}
	s.fresh = nil
	r.Err = s.sh.e.cfg.Network.Apply(s.sh.e.life, s.owner(), want)
	if bad, ok := errors.AsType[*network.IPv6Error](r.Err); ok { // all else is in place
		r.Err, r.NoIPv6 = nil, bad.Err
	}
	if r.Err == nil && n.IPv4 {
		r.Err = pass(kernel.IPv4, true)
	}
	if r.Err == nil && n.IPv6 && r.NoIPv6 == nil {
		r.Err = pass(kernel.IPv6, true)
	}
	if r.Err == nil {
		r.NoPrefix = s.advertise(n, n.IPv6 && r.NoIPv6 == nil)
	}
	return r
}

// advertise begins or ends to tell the peer its IPv6 prefixes. It may sleep.
func (s *session) advertise(n call.Network, open bool) error {
	service := s.sh.e.cfg.Prefixes
	has := n.Link.IsValid() || n.Delegated.IsValid()
	switch {
	case open && has && service == nil:
		return errors.New("no service for IPv6 prefixes")
	case open && has:
		if s.process != nil {
			s.index = s.sh.e.cfg.Network.Index(s.owner())
		}
		s.serving = true
		lease := ipv6.Lease{LinkLocal: n.LocalIPv6, Link: n.Link, Delegated: n.Delegated, DNS: n.IPv6DNS, MTU: n.MTU}
		return service.Serve(s.index, lease, func(ev ipv6.Event) { s.sh.post(func() { s.delegated(ev) }) })
	case s.serving:
		s.serving = false
		service.Stop(s.index)
	}
	return nil
}

// delegated: the peer's router has taken its prefix, or given it back. The route is there as long as IPv6 is.
func (s *session) delegated(ev ipv6.Event) {
	if s.releasing {
		return
	}
	say(s.log(), slog.LevelInfo, "delegated prefix "+ev.Change.String(), slog.String("event", "prefix"),
		slog.String("prefix", ev.Prefix.String()), slog.String("router", address(ev.Router)))
	if ev.Ready != nil {
		s.sh.e.exec.submit(ev.Ready)
	}
}

// waitingPackets is how to tell the call's waiting device, if it has one, which protocols have their way. Not once when the call
// is up: the protocol of a packet that waits may open after another.
func (s *session) waitingPackets() func(ipv4, ipv6 bool) {
	if s.dialer == nil || s.dialer.session != s || s.dialer.demand == nil {
		return func(bool, bool) {}
	}
	return s.dialer.demand.Release
}

// authorize has what the peer presented checked by those who know users, in their order: the first that knows him decides (S155).
func (s *session) authorize(op call.OpAuthorize) {
	name := op.Request.Name
	if rule := s.subscriber().rule; rule != nil {
		name = rule.UserName(name)
	}
	if a := s.subscriber().answer; a != nil { // the rule has asked already
		s.sub.answer = nil
		if a.attempt == op.Request.Attempt {
			s.loginAnswered(op, a.Answer, nil)
			return
		}
	}
	if op.User != "" && s.authentic == radius.AuthenticRADIUS { // who has let him in judges him again: a rule may have asked for others
		s.loginAt(op)
		return
	}
	for _, source := range s.sources() {
		if source == policy.SourceRADIUS {
			s.loginAt(op)
			return
		}
		if s.pol.Users[name] != nil {
			s.loginHere(op, name)
			return
		}
	}
	s.loginHere(op, name)
}

func (s *session) sources() []policy.Source {
	if s.tmpl == nil || len(s.tmpl.Sources) == 0 {
		return []policy.Source{policy.SourceLocal}
	}
	return s.tmpl.Sources
}

// loginHere checks what the peer presented against the local users.
func (s *session) loginHere(op call.OpAuthorize, name string) {
	r := op.Request
	users := s.pol.Users
	s.sh.ask(func() func() {
		login := auth.Local(users).Check(auth.Request{
			Method: r.Method, ID: r.ID, Name: name, Presented: r.Name, Password: r.Password, Challenge: r.Challenge, Response: r.Response,
		})
		return func() {
			v := call.Result{Message: "login incorrect", Why: fmt.Sprintf("wrong password of user %q", name)}
			if users[name] == nil {
				v.Why = fmt.Sprintf("there is no user %q", name)
			}
			s.authentic = radius.AuthenticLocal
			if op.User == "" {
				s.ungrant()
			}
			switch u := login.User; {
			case login.OK && op.User != "" && op.User != u.Name: // its address and routes are those of the first
				v.Why = fmt.Sprintf("the session is that of user %q, and another cannot take it over", op.User)
			case login.OK:
				v = call.Result{OK: true, User: u.Name, UserIPv4: u.IPv4, Routes: u.Routes, Success: login.Success, Keys: login.Keys}
			}
			s.checked(op, v)
		}
	})
}

// checked is the verdict about credentials. A login succeeds when its user may have one more session, and his own address is free.
func (s *session) checked(op call.OpAuthorize, r call.Result) {
	if op.User == "" {
		s.forgetLogin(r) // of an attempt that nothing came of
	}
	if !r.OK {
		s.sh.e.counts.userAuthFailures.Add(1)
		s.finished(op, r)
		return
	}
	s.login, s.owned = r.User, r.UserIPv4
	u := s.pol.Users[r.User]
	if u == nil || s.authentic == radius.AuthenticRADIUS {
		u = &policy.User{Name: r.User, IPv4: r.UserIPv4}
		if g := s.granted; g != nil {
			u.Sessions, u.IPv6, u.Behind = g.limit, g.link, g.behind
		}
	}
	s.enterLogin(u, func(refusal string) {
		if refusal != "" {
			r = call.Result{Message: refusal, Why: refusal, Full: true}
		}
		s.finished(op, r)
	})
}

// enterLogin counts the session as one of u's and claims his own address and prefixes. then is told, back here, why that cannot be;
// nothing when it is done. What has been claimed until then is given back by forgetLogin.
func (s *session) enterLogin(u *policy.User, then func(refusal string)) {
	zero := s.sh.e.shards[0]
	prefixes := s.prefixesOf(u)
	for _, p := range prefixes {
		if x := (lent{prefix: p}); !slices.Contains(s.lent, x) {
			s.lent = append(s.lent, x)
		}
	}
	limit, duplicate := u.MaxSessions(s.tmpl), policy.DuplicateAllow
	if s.tmpl != nil {
		duplicate = s.tmpl.Duplicate
	}
	zero.post(func() {
		answer := func(refusal string) { s.sh.post(func() { then(refusal) }) }
		more := func(refusal string) {
			if refusal != "" {
				answer(refusal)
				return
			}
			zero.pools.ownPrefixes(prefixes, s, answer)
		}
		switch refusal := zero.logins.enter(u.Name, s, limit, duplicate); {
		case refusal != "" || !u.IPv4.IsValid():
			more(refusal)
		default:
			zero.pools.own(u.IPv4, s, more)
		}
	})
}

// prefixesOf are the prefixes of a user's own that the session gives him, each before what is within it.
func (s *session) prefixesOf(u *policy.User) (all []netip.Prefix) {
	if s.conf != nil || s.tmpl == nil || !s.tmpl.IPv6 {
		return nil
	}
	for _, p := range []netip.Prefix{u.IPv6, u.Behind} {
		if p.IsValid() {
			all = append(all, p.Masked())
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// forgetLogin gives back what an earlier login of the session has, unless the new verdict is for the same user.
func (s *session) forgetLogin(r call.Result) {
	zero := s.sh.e.shards[0]
	if a := s.owned; a.IsValid() && a != r.UserIPv4 {
		s.owned = netip.Addr{}
		zero.post(func() { zero.pools.disown(a, s) })
	}
	s.lent = slices.DeleteFunc(s.lent, func(x lent) bool {
		if x.pool == "" {
			zero.post(func() { zero.pools.disownPrefix(x.prefix, s) })
		}
		return x.pool == ""
	})
	if user := s.login; user != "" && user != r.User {
		s.login = ""
		zero.post(func() { zero.logins.leave(user, s) })
	}
}

// address asks shard 0, which has the pools.
func (s *session) address(op call.OpAddress) {
	switch g := s.granted; {
	case g == nil:
	case g.noAddress != "":
		s.finished(op, call.Result{Message: g.noAddress})
		return
	case g.choice && op.Wanted.Is4() && op.Wanted.IsGlobalUnicast():
		s.chosen(op)
		return
	}
	name := ""
	if s.tmpl != nil {
		name = s.tmpl.IPv4Pool
	}
	p := s.pol.Pools[name]
	if p == nil {
		var r call.Result
		switch {
		case s.conf == nil || !op.Wanted.Is4() || !op.Wanted.IsGlobalUnicast():
		case foreign(s.pol, op.Wanted):
			r.Address = op.Wanted // the box at the other end of a configured call has an address of its own
		default:
			r.Message = notForeign(op.Wanted)
		}
		s.finished(op, r)
		return
	}
	if s.pooled.IsValid() && s.pooledFrom.Name == name { // PPP has begun anew
		s.finished(op, call.Result{Address: s.pooled})
		return
	}
	zero, had, from := s.sh.e.shards[0], s.pooled, s.pooledFrom
	s.pooled = netip.Addr{}
	zero.post(func() {
		if had.IsValid() {
			zero.pools.release(from.Name, had)
		}
		a, ok := zero.pools.allocate(zero.e.policy.Load(), p, op.User)
		s.sh.post(func() {
			r := call.Result{Address: a}
			if ok {
				s.pooled, s.pooledFrom = a, p
			} else {
				r.Full, r.Message = true, "address pool "+name+" is exhausted"
			}
			s.finished(op, r)
		})
	})
}

// chosen gives a user the address that he wants, as a RADIUS server has it, unless it is ours, ours to give, or another's.
func (s *session) chosen(op call.OpAddress) {
	a, had := op.Wanted, s.owned
	if !foreign(s.pol, a) {
		s.finished(op, call.Result{Message: notForeign(a)})
		return
	}
	zero := s.sh.e.shards[0]
	zero.post(func() {
		refusal := ""
		if o := zero.pools.owned[a]; o != nil && o.holder != s {
			refusal = "address " + a.String() + " is another user's"
		} else {
			if had.IsValid() && had != a {
				zero.pools.disown(had, s)
			}
			zero.pools.own(a, s, func(why string) { refusal = why }) // at once: nobody has it
		}
		s.sh.post(func() {
			if refusal != "" {
				s.finished(op, call.Result{Message: refusal})
				return
			}
			s.owned = a
			s.finished(op, call.Result{Address: a})
		})
	})
}

// prefixes asks shard 0 for what the template's pools have, unless the user has prefixes of his own.
func (s *session) prefixes(op call.OpPrefixes) {
	var r call.Result
	if g := s.granted; g != nil {
		r.Link, r.Delegated = g.link, g.behind
	} else if u := s.pol.Users[op.User]; u != nil {
		r.Link, r.Delegated = u.IPv6, u.Behind
	}
	link, delegated := s.pol.Pools[s.tmpl.IPv6Pool], s.pol.Pools[s.tmpl.DelegatedPool]
	zero := s.sh.e.shards[0]
	zero.post(func() {
		var taken []lent
		take := func(p *policy.Pool, into *netip.Prefix) {
			if p == nil || into.IsValid() || r.Message != "" {
				return
			}
			got, ok := zero.pools.allocatePrefix(zero.e.policy.Load(), p, op.User)
			if !ok {
				r.Message = "pool " + p.Name + " is exhausted"
				return
			}
			*into = got
			taken = append(taken, lent{p.Name, got})
		}
		take(link, &r.Link)
		take(delegated, &r.Delegated)
		if r.Message != "" {
			r.Link, r.Delegated = netip.Prefix{}, netip.Prefix{}
		}
		s.sh.post(func() {
			s.lent = append(s.lent, taken...)
			s.finished(op, r)
		})
	})
}

// lent is a prefix that a session has.
type lent struct {
	pool   string // empty: it is the user's own
	prefix netip.Prefix
}

// release takes everything back. The network state goes first, then the kernel session with its unit, then the address: it is
// given to nobody while a route to it may exist.
func (s *session) release(op call.Op) {
	s.releasing = true
	e := s.sh.e
	data, line, applied, owner, open := s.data, s.line, s.netApplied, s.owner(), s.waitingPackets()
	joint := s.subscriber().joint
	s.sh.ask(func() func() {
		var errs []error
		if s.serving {
			e.cfg.Prefixes.Stop(s.index)
		}
		if applied {
			open(false, false)
			errs = append(errs, e.cfg.Network.Remove(e.life, owner))
		}
		errs = append(errs, s.stopPppd(), s.placed.letGo("the LNS has ended the call"))
		joint.end()
		if data != nil {
			errs = append(errs, data.Close())
		}
		if line != nil {
			line.end.HangUp(line.why)
		}
		err := errors.Join(errs...)
		return func() {
			if err != nil {
				s.log().Warn("release of a session", slog.String("why", err.Error()))
			}
			if s.pooled.IsValid() {
				name, a := s.pooledFrom.Name, s.pooled
				zero := e.shards[0]
				zero.post(func() { zero.pools.release(name, a) })
			}
			s.forgetLogin(call.Result{})
			for _, x := range s.lent {
				zero := e.shards[0]
				zero.post(func() { zero.pools.releasePrefix(x.pool, x.prefix) })
			}
			s.finished(op, call.Result{})
		}
	})
}
