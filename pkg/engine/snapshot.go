package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// viewsAtOnce is of how many sessions a shard makes views before it turns to what else has come. With a thousand times as many it would be
// late for its tunnels.
const viewsAtOnce = 64

// part is what one shard contributes to a snapshot.
type part struct {
	wanted   []*session // of which there will be views
	tunnels  []api.Tunnel
	sessions []api.Session
	calls    []api.Call
	lns      []api.LNS
	poolRows []api.AddressPool
	leases   []api.Lease
	lives    []api.Life
	pools    []api.Pool
	clear    []netip.AddrPort
	control  [11]uint64
	data     [9]uint64
	up, half int
	sessUp   int
	readings readings
}

// Snapshot implements api.Backend.
func (e *Engine) Snapshot(ctx context.Context, q api.Query) (*api.Snapshot, error) {
	parts := make([]part, len(e.shards))
	if err := e.each(ctx, func(s *shard) { parts[s.index] = s.look(q) }); err != nil {
		return nil, api.Errorf(api.CodeUnavailable, "%s", err)
	}
	for i := range parts {
		if err := e.shards[i].views(ctx, q, &parts[i]); err != nil {
			return nil, api.Errorf(api.CodeUnavailable, "%s", err)
		}
		if err := parts[i].read(ctx); err != nil {
			return nil, api.Errorf(api.CodeUnavailable, "%s", err)
		}
	}
	snap := &api.Snapshot{APIVersion: api.APIVersion, TakenAt: e.cfg.WallClock()}
	var all part
	for i := range parts {
		p := &parts[i]
		all.tunnels = append(all.tunnels, p.tunnels...)
		all.sessions = append(all.sessions, p.sessions...)
		all.calls = append(all.calls, p.calls...)
		all.lns = append(all.lns, p.lns...)
		all.lives = append(all.lives, p.lives...)
		all.pools = append(all.pools, p.pools...)
		all.clear = append(all.clear, p.clear...)
		all.up += p.up
		all.half += p.half
		all.sessUp += p.sessUp
		for j := range all.control {
			all.control[j] += p.control[j]
		}
		for j := range all.data {
			all.data[j] += p.data[j]
		}
	}
	if q.Tunnels {
		slices.SortFunc(all.tunnels, func(a, b api.Tunnel) int { return cmp.Compare(a.ID, b.ID) })
		snap.Tunnels = append([]api.Tunnel{}, all.tunnels...)
	}
	if q.Sessions {
		slices.SortFunc(all.sessions, func(a, b api.Session) int {
			return cmp.Or(cmp.Compare(a.TunnelID, b.TunnelID), cmp.Compare(a.ID, b.ID))
		})
		snap.Sessions = append([]api.Session{}, all.sessions...)
	}
	if q.Calls {
		slices.SortFunc(all.calls, func(a, b api.Call) int { return cmp.Compare(a.Name, b.Name) })
		snap.Calls = append([]api.Call{}, all.calls...)
	}
	if q.Lives != nil {
		snap.Lives = newestLives(append(all.lives, e.buried.find(q.Lives)...))
	}
	if q.Status {
		snap.Status = e.status(&all)
	}
	if q.Load {
		snap.Load = e.load()
	}
	if q.Debugs {
		snap.Debugs = e.taps.debugs()
	}
	e.tables(q, parts, snap)
	if q.Peers {
		return snap, e.peerTable(ctx, snap)
	}
	return snap, nil
}

// views makes the views that a part lacks, some in each turn of the shard. A session that has ended meanwhile has none.
func (s *shard) views(ctx context.Context, q api.Query, p *part) error {
	for some := range slices.Chunk(p.wanted, viewsAtOnce) {
		err := s.in(ctx, func() {
			for _, x := range some {
				if x.entered() {
					p.add(q, x)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// entered says whether the session is among those of its tunnel, or of the lines.
func (s *session) entered() bool {
	if s.t != nil {
		return s.t.sessions[s.id] == s
	}
	return s.sh.lines.byID[s.line.id] == s
}

// look gathers what a query asks of one shard. Views of sessions are still to be made, and the kernel's counters to be read.
func (s *shard) look(q api.Query) part {
	var p part
	p.readings.gone = s.data // with those of the living, of the same moment: no session is counted twice, and none left out
	for _, t := range s.tunnels {
		v := t.ctl.View()
		for i, n := range controlOf(v.Counters) {
			p.control[i] += n
		}
		switch {
		case t.up && !t.down:
			p.up++
		case !t.down:
			p.half++
		}
		for _, x := range t.sessions {
			if x.state == control.SessionEstablished && !x.releasing {
				p.sessUp++
			}
			if q.Stats && q.Status && x.data != nil {
				p.readings.sum = append(p.readings.sum, x.data)
			}
		}
		if q.Tunnel != 0 && q.Tunnel != uint16(t.id) {
			continue
		}
		if q.Tunnels && (!t.tieLost || !t.down) { // one that gave way only waits for a late answer
			p.tunnels = append(p.tunnels, t.view(v))
		}
		if q.Sessions && (q.Tunnel != 0 || q.Session == 0) {
			t.wanted(q, &p)
		}
	}
	if q.Sessions && q.Tunnel == 0 {
		s.lines.wanted(q, &p)
	}
	p.poolRows, p.leases = s.poolTable(q)
	if q.Status && s.lac != nil {
		p.lns = s.lac.views()
	}
	if q.Lives != nil {
		p.lives = s.lives(q.Lives)
	}
	if q.Status {
		p.clear = s.clearText()
	}
	if q.Status && s.pools != nil {
		p.pools = s.pools.views(s.e.policy.Load())
	}
	if (q.Calls || q.Status) && s.dialers != nil {
		for _, x := range s.dialers.byName {
			if q.Call == "" || q.Call == x.conf.Name {
				p.calls = append(p.calls, x.view())
			}
		}
	}
	return p
}

// bits names capability or type bits.
func bits(v uint32, one, two string) []string {
	names := []string{}
	if v&1 != 0 {
		names = append(names, one)
	}
	if v&2 != 0 {
		names = append(names, two)
	}
	return names
}

func framing(v uint32) []string { return bits(v, "sync", "async") }
func bearer(v uint32) []string  { return bits(v, "digital", "analog") }

// view is the tunnel as the API shows it.
func (t *tunnel) view(v control.TunnelView) api.Tunnel {
	return api.Tunnel{
		ID: uint16(t.id), PeerID: uint16(v.Peer.TunnelID), State: v.State.String(), Initiator: t.initiator,
		Local: t.local, Remote: t.remote,
		HostName: v.Peer.HostName, Vendor: v.Peer.VendorName, Firmware: v.Peer.FirmwareRevision,
		Framing: framing(v.Peer.Framing), Bearer: bearer(v.Peer.Bearer),
		Window: v.Window, PeerWindow: v.PeerWindow, Ns: v.Ns, Nr: v.Nr, PeerNr: v.PeerNr,
		Congestion: v.CongestionWindow, SlowStart: v.SlowStartThreshold, Outstanding: v.Outstanding, Queued: v.Queued,
		RTT: v.RTT.Milliseconds(), RTO: v.RTO.Milliseconds(), RTOCap: t.rtoCap().Milliseconds(),
		Secret: t.secret && t.up, SessionCount: len(t.sessions),
		StartedAt: t.started, EstablishedAt: t.established, LastError: t.lastError, Debug: t.s.e.taps.debugged(t.sight),
		Counters: controlTraffic(controlOf(v.Counters)),
	}
}

// rtoCap is the longest wait between retransmissions (S139).
func (t *tunnel) rtoCap() time.Duration {
	var own time.Duration
	if t.key != nil {
		own = t.key.Tunnel.RetransmitCap
	}
	return retransmitCap(policy.Tunnel{RetransmitCap: own}, t.s.e.policy.Load().Server.Tunnel)
}

// retransmitCap is that of the first that says one.
func retransmitCap(own, server policy.Tunnel) time.Duration {
	return cmp.Or(own.RetransmitCap, server.RetransmitCap, 8*time.Second)
}

// wanted adds the tunnel's sessions that a query asks for.
func (t *tunnel) wanted(q api.Query, p *part) {
	for _, x := range t.sessions {
		if q.Session != 0 && q.Session != uint16(x.id) {
			continue
		}
		if q.Call != "" && (x.conf == nil || x.conf.Name != q.Call) {
			continue
		}
		p.wanted = append(p.wanted, x)
	}
}

// add adds one session.
func (p *part) add(q api.Query, s *session) {
	v := s.view()
	if q.Stats {
		p.readings.want(s, &v)
	}
	p.sessions = append(p.sessions, v)
}

// view is the session as the API shows it.
func (s *session) view() api.Session {
	said, other := &s.remote, s.local
	if s.role.IsLAC() {
		said, other = s.told(), &s.remote
	} else if other == nil {
		other = &control.CallInfo{}
	}
	var c control.SessionView
	if s.t != nil {
		c = s.t.ctl.SessionView(s.id)
	}
	v := api.Session{
		ID: uint16(s.id), PeerID: uint16(s.peer), Role: s.role.String(), State: s.state.String(),
		SerialNumber: c.SerialNumber, PeerSerial: c.PeerSerial,
		CalledNumber:  cmp.Or(said.CalledNumber, other.CalledNumber),
		CallingNumber: said.CallingNumber, SubAddress: cmp.Or(said.SubAddress, other.SubAddress),
		TxSpeed: said.TxSpeed, RxSpeed: said.RxSpeed,
		Framing: framing(cmp.Or(said.FramingType, other.FramingType)), Bearer: bearer(cmp.Or(said.BearerType, other.BearerType)),
		PhysicalChannel: said.PhysicalChannel, PrivateGroup: said.PrivateGroup, ProxyAuth: proxyAuthName(s.proxyType),
		ProcessingDelay: s.remote.ProcessingDelay,
		StartedAt:       s.started, EstablishedAt: s.upSince, LCP: "Initial", IPCP: "Initial", IPV6CP: "Initial",
		Phase: ppp.PhaseDead.String(),
	}
	switch {
	case s.t != nil:
		v.TunnelID, v.PeerTunnelID, v.Remote = uint16(s.t.id), uint16(s.t.ctl.PeerID()), s.t.remote
	case s.line != nil:
		o := s.offer()
		v.ID, v.Role, v.Access, v.CallingNumber, v.CalledNumber = s.line.id, "access", s.line.caller.Name(), s.line.caller.Station(), o.CalledNumber
		v.TxSpeed, v.RxSpeed, v.Framing, v.Bearer = o.TxSpeed, o.RxSpeed, framing(o.FramingType), bearer(o.BearerType)
		v.State = control.SessionWaitConnect.String()
		if !s.upSince.IsZero() {
			v.State = control.SessionEstablished.String()
		}
	}
	if fw := s.subscriber().far; fw != nil {
		v.Forwarded = &api.Forwarded{LNS: fw.target.Name, Address: fw.target.Addr, TunnelID: uint16(fw.tunnel), SessionID: uint16(fw.id)}
	}
	if s.near != nil {
		v.Subscriber, v.CarriesFor = s.near.user, s.near.from.name()
	}
	if s.releasing {
		v.State = "closing"
	}
	v.Debug = s.sh.e.taps.debugged(s.sight)
	if s.conf != nil {
		v.Call = s.conf.Name
	}
	if s.conf == nil && s.tmpl != nil {
		v.Template = s.tmpl.Name
	}
	if e := s.lineErrors; e != nil {
		v.LineErrors = &api.LineErrors{CRC: e[0], Framing: e[1], Hardware: e[2], Buffer: e[3], TimeOut: e[4], Alignment: e[5]}
	}
	if s.call != nil {
		s.viewCall(&v)
	}
	return v
}

// told is what we say of the session as its LAC.
func (s *session) told() *control.CallInfo {
	info := control.CallInfo{}
	if s.local != nil {
		info = *s.local
	}
	if s.t == nil || s.state != control.SessionEstablished {
		return &info
	}
	var r *control.CallInfo
	switch {
	case s.near != nil:
		r = &s.near.call
		info.PrivateGroup = s.near.privateGroup()
	case s.placed != nil:
		r = s.placed.connected()
	default:
		r = s.reply(s.sequencing())
	}
	info.TxSpeed, info.RxSpeed, info.FramingType = r.TxSpeed, r.RxSpeed, r.FramingType
	return &info
}

// name is the session's as operators give it. It does not change.
func (s *session) name() string {
	if s.line != nil {
		return fmt.Sprint(api.LineRef, s.line.id)
	}
	return fmt.Sprintf("%d/%d", s.t.id, s.id)
}

// viewCall adds what the call machine and PPP know.
func (s *session) viewCall(v *api.Session) {
	c := s.call.View()
	v.User, v.Interface, v.MTU = c.User, c.Interface, c.MTU
	v.LocalIPv4, v.PeerIPv4, v.LocalIPv6, v.PeerIPv6 = c.Local, c.Peer, c.LocalIPv6, c.PeerIPv6
	v.IPv6Prefix, v.IPv6Delegated = c.Link, c.Delegated
	v.SequencesSent, v.SequencesRequired = c.Sequencing.Send, c.Sequencing.Require
	if c.PPP.LCP != "" {
		v.MRU, v.PeerMRU = c.PPP.MRU, c.PPP.PeerMRU
		v.Auth, v.PeerAuth, v.MPPE = authName(c.PPP.Auth), authName(c.PPP.Answer), c.PPP.Encrypted
		v.Phase, v.LCP, v.IPCP, v.IPV6CP = c.PPP.Phase.String(), c.PPP.LCP, c.PPP.IPCP, c.PPP.IPV6CP
	}
}

// proxyAuthName is a Proxy Authen Type in the words of the API (P187).
func proxyAuthName(t uint16) string {
	switch t {
	case 0:
		return ""
	case 1:
		return "text"
	case 2:
		return "chap"
	case 3:
		return "pap"
	case 4:
		return "none"
	case 5:
		return "mschapv1"
	}
	return fmt.Sprintf("type %d", t)
}

// authName is a login method in the words of the API and of the configuration.
func authName(m ppp.AuthMethod) string {
	switch m {
	case ppp.AuthNone:
		return "none"
	case ppp.AuthPAP:
		return "pap"
	case ppp.AuthCHAPMD5:
		return "chap"
	case ppp.AuthMSCHAPv1:
		return "mschapv1"
	case ppp.AuthMSCHAPv2:
		return "mschapv2"
	}
	return m.String()
}

// view is the call as the API shows it.
func (x *dialer) view() api.Call {
	c := x.conf
	v := api.Call{
		Name: c.Name, Type: c.Type.String(), Peer: cmp.Or(c.Peer, "any"), Remote: c.Remote, Dial: c.Dial,
		SubAddress: c.SubAddress, Speed: c.Speed, Precedence: c.Precedence.String(), Sequencing: c.Sequencing.String(),
		PRE13: c.PRE13, Method: c.Method.String(), Secret: !c.Secret.Empty(), AutoStart: c.AutoStart, OnDemand: c.OnDemand,
		State: api.CallIdle, LastError: x.lastErr, Attempts: x.attempts,
	}
	if len(x.addrs) > 0 {
		v.PeerAddr = netip.AddrPortFrom(x.addrs[0], cmp.Or(c.PeerPort, policy.DefaultPort))
	}
	s := x.session
	switch {
	case s != nil && !s.upSince.IsZero() && !s.releasing:
		v.State, v.UpSince = api.CallUp, s.upSince
	case s != nil && (s.releasing || s.asked != nil || s.call != nil && s.call.View().Closing):
		v.State = api.CallClosing
	case s != nil || x.resolving:
		v.State = api.CallDialling
	case x.timer.index >= 0:
		v.State = api.CallWaiting
		v.NextRedial = x.d.s.e.cfg.WallClock().Add(x.timer.at - x.d.s.now())
	case c.Passive:
		v.State = api.CallPassive
	case x.demand != nil:
		v.State = api.CallWaiting
	}
	if s != nil {
		v.TunnelID, v.SessionID = uint16(s.t.id), uint16(s.id)
		v.PeerAddr = s.t.remote
		if s.call != nil {
			v.Interface = s.call.View().Interface
		}
	}
	return v
}

// status is the daemon as a whole.
func (e *Engine) status(all *part) *api.Status {
	p := e.policy.Load()
	begun := e.cfg.Policy.Server // sockets are as they were made: a reload does not reach them
	st := &api.Status{
		Version: e.cfg.Version, State: api.StateRunning, StartedAt: e.started, PID: os.Getpid(),
		ConfigFile: e.cfg.ConfigFile, ConfigLoaded: *e.loaded.Load(),
		Mode: p.Server.Mode.String(), HostName: p.Server.HostName, Listen: e.cfg.Listen,
		ChecksumData: begun.Checksum, AllowFrom: []string{}, Secrets: []api.SecretRange{},
		Tunnels: all.up, Sessions: all.sessUp, HalfOpen: all.half, Process: process(),
	}
	if e.stopping.Load() {
		st.State = api.StateStopping
	}
	for _, r := range p.Server.AllowFrom {
		st.AllowFrom = append(st.AllowFrom, r.String())
	}
	for _, r := range p.Secrets {
		x := api.SecretRange{From: r.From.String(), HostName: r.HostName, Secret: api.SecretSet}
		if r.None {
			x.Secret = api.SecretNone
		}
		st.Secrets = append(st.Secrets, x)
	}
	if e.cfg.Kernel != nil {
		f := e.cfg.Kernel.Features()
		st.Kernel = api.Kernel{Release: f.Release, NewCore: f.NewCore, BelowMinimum: f.BelowMinimum, Advice: f.Advice}
	}
	st.Problems = append(st.Problems, e.cfg.Problems...)
	for _, c := range all.calls {
		if c.State == api.CallUp {
			st.Calls.Up++
		} else {
			st.Calls.Down++
		}
	}
	slices.SortFunc(all.clear, netip.AddrPort.Compare)
	st.ClearText = slices.Compact(all.clear)
	st.LNS, st.Access, st.RADIUS, st.Pools = all.lns, e.accessViews(), e.radiusView(), all.pools
	st.Counters = e.totals(all)
	return st
}

// process asks Go's runtime what the daemon takes.
func process() api.Process {
	m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(m)
	return api.Process{
		Goroutines: runtime.NumGoroutine(), HeapOctets: m[0].Value.Uint64(), TotalOctets: m[1].Value.Uint64() - m[2].Value.Uint64(),
	}
}

// totals adds what lives to what is gone.
func (e *Engine) totals(all *part) api.Counters {
	var ctl [11]uint64
	for i := range ctl {
		ctl[i] = all.control[i] + e.counts.control[i].Load()
	}
	t := e.cfg.Transport.Counters()
	c := api.Counters{
		TunnelAuthFailures: e.counts.authFailures.Load(), UserAuthFailures: e.counts.userAuthFailures.Load(), Unrouted: e.counts.unrouted.Load(),
		SessionEnds: e.counts.ends.all(), Discarded: e.counts.discards(),
		Control: controlTraffic(ctl), Data: dataTraffic(all.data),
		PPPFrames: api.FrameTraffic{In: e.counts.framesIn.Load(), Out: e.counts.framesOut.Load()},
		Listener:  socketTraffic(t.Listener), TunnelSockets: socketTraffic(t.Tunnel),
	}
	c.InMessages, c.OutMessages = c.Control.In+c.Data.InPackets, c.Control.Out+c.Data.OutPackets
	c.InErrors = c.Discarded.Malformed + c.Data.InErrors
	return c
}

func socketTraffic(c transport.SocketCounters) api.SocketTraffic {
	return api.SocketTraffic{
		InDatagrams: c.ReceivedDatagrams, InOctets: c.ReceivedOctets, OutDatagrams: c.SentDatagrams, OutOctets: c.SentOctets,
	}
}

// stopReason is what a tunnel closed by an operator is told.
var stopReason = wire.Result{Code: wire.StopGeneral, Text: "closed by the operator"}
