package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// showStatus shows the daemon (S108-S128).
func showStatus(s *api.Snapshot, counters bool) string {
	c := s.Status
	if c == nil {
		return "the daemon tells nothing of itself\n"
	}
	v := newView(13, fmt.Sprintf("l2tpd %s, %s for %s, pid %d", c.Version, c.State, age(s.TakenAt, c.StartedAt), c.PID))
	v.row("mode", "%s, host name %s", c.Mode, or(c.HostName))
	listen := make([]string, len(c.Listen))
	for i, a := range c.Listen {
		listen[i] = a.String()
	}
	v.row("listening on", "%s", list(listen, "nothing"))
	if c.ConfigFile != "" {
		v.row("config", "%s, loaded %s ago", c.ConfigFile, age(s.TakenAt, c.ConfigLoaded))
	}
	if c.Kernel.Release == "" {
		v.row("kernel", "no L2TP in the kernel: no data can pass")
	} else {
		v.row("kernel", "%s, %s L2TP core", c.Kernel.Release, yes(c.Kernel.NewCore, "new", "old"))
	}
	if c.Kernel.Advice != "" {
		v.row("", "%s", c.Kernel.Advice)
	}
	v.row("tunnels", "%d, and %d half-open", c.Tunnels, c.HalfOpen)
	v.row("sessions", "%d", c.Sessions)
	v.row("calls", "%d up, %d down", c.Calls.Up, c.Calls.Down)
	subscriberRows(v, s)
	radiusRows(v, s)
	v.row("memory", "%d KiB, of which %d KiB are in use, and %d goroutines", c.Process.TotalOctets>>10, c.Process.HeapOctets>>10, c.Process.Goroutines)
	v.row("allowed from", "%s", list(c.AllowFrom, "everywhere"))
	v.row("data checksum", "%s", yes(c.ChecksumData, "on", "off"))
	label := "secrets"
	if len(c.Secrets) == 0 {
		v.row(label, "none")
	}
	for _, r := range c.Secrets {
		from := r.From
		if r.HostName != "" {
			from += " as " + r.HostName
		}
		v.row(label, "%s: %s", from, r.Secret)
		label = ""
	}
	healthRows(v, s)
	if len(c.Problems) > 0 {
		v.head("Problems")
		for _, p := range c.Problems {
			v.b.WriteString(line("  - " + p))
		}
	}
	if counters {
		v.b.WriteString(showCounters(&c.Counters))
		for _, a := range c.Access {
			if a.PPPoE != nil {
				v.b.WriteString(showDiscovery(a.Name, a.PPPoE))
			}
		}
		v.b.WriteString(showRADIUS(c.RADIUS))
	}
	return v.String()
}

// radiusRows shows which RADIUS servers answer, and whether accounting records wait for them.
func radiusRows(v *view, s *api.Snapshot) {
	r := s.Status.RADIUS
	if r == nil {
		return
	}
	label := "RADIUS"
	for _, x := range r.Servers {
		state := "answers"
		switch {
		case !x.DeadSince.IsZero():
			state = "has not answered for " + age(s.TakenAt, x.DeadSince)
		case x.Answers == 0:
			state = "has not answered yet"
		}
		v.row(label, "%s, %s: %s", x.Name, x.Purpose, state)
		label = ""
	}
	n := r.Records
	if n.Queued == 0 && n.Lost == 0 && n.DiskErrors == 0 {
		return
	}
	oldest := ""
	if !n.Oldest.IsZero() {
		oldest = ", the oldest for " + age(s.TakenAt, n.Oldest)
	}
	v.row("accounting", "%s waiting, %d of them on disk%s; %d lost, %d disk errors", counting(n.Queued, "record"), n.Spooled, oldest, n.Lost, n.DiskErrors)
}

// showRADIUS shows what RADIUS servers were asked, and how they answered.
func showRADIUS(r *api.RADIUS) string {
	if r == nil {
		return ""
	}
	v := &view{label: 24}
	v.head("RADIUS")
	for _, x := range r.Servers {
		v.row(x.Name+" "+x.Purpose, "%d requests, %d of them again; %d given up, %d outstanding", x.Requests, x.Retransmits, x.Timeouts, x.Outstanding)
		answers := fmt.Sprintf("%d answers", x.Answers)
		if x.Purpose == api.RADIUSLogins {
			answers += fmt.Sprintf(", %d accept, %d reject", x.Accepts, x.Rejects)
		}
		v.row("", "%s; round trip %d ms", answers, x.RTT)
		if x.BadAuthenticators+x.Unsigned+x.Malformed > 0 {
			v.row("", "%d with another secret, %d unsigned, %d malformed", x.BadAuthenticators, x.Unsigned, x.Malformed)
		}
	}
	n := r.Records
	v.row("accounting records", "%d delivered, %d superseded, %d waiting, %d lost", n.Delivered, n.Superseded, n.Queued, n.Lost)
	return v.String()
}

// subscriberRows show where subscribers arrive, and the LNSs that their calls go to.
func subscriberRows(v *view, s *api.Snapshot) {
	c := s.Status
	for i, n := range c.LNS {
		label := ""
		if i == 0 {
			label = "LNSs"
		}
		state := ""
		if !n.LockedUntil.IsZero() {
			state = ", did not serve: left alone for " + span(n.LockedUntil.Sub(s.TakenAt))
		}
		v.row(label, "%v: %s%s", n.Address, counting(n.Sessions, "session"), state)
	}
	for i, a := range c.Access {
		label := ""
		if i == 0 {
			label = "access"
		}
		v.row(label, "%s: %s", a.Name, counting(a.Sessions, "subscriber"))
	}
}

// pppRows show what ends here: PPP, and with it an interface unless the call goes on elsewhere.
func pppRows(v *view, c *api.Session) {
	v.row("call", "%s, user %s", or(c.Call), or(c.User))
	if c.Template != "" {
		v.row("template", "%s", c.Template)
	}
	if c.Forwarded == nil {
		v.row("interface", "%s, MTU %d, MRU %d, peer's MRU %d", or(c.Interface), c.MTU, c.MRU, c.PeerMRU)
		if c.IPCP == "Opened" && !c.LocalIPv4.IsValid() && !c.PeerIPv4.IsValid() {
			v.row("IPv4", "unnumbered")
		} else {
			v.row("IPv4", "%s -> %s", or(addr(c.LocalIPv4)), or(addr(c.PeerIPv4)))
		}
		v.row("IPv6", "%s -> %s", or(addr(c.LocalIPv6)), or(addr(c.PeerIPv6)))
	}
	if c.IPv6Prefix.IsValid() || c.IPv6Delegated.IsValid() {
		v.row("", "prefix %s, delegated %s", or(prefix(c.IPv6Prefix)), or(prefix(c.IPv6Delegated)))
	}
	v.row("PPP", "%s: LCP %s, IPCP %s, IPV6CP %s", or(c.Phase), or(c.LCP), or(c.IPCP), or(c.IPV6CP))
	v.row("authentication", "of the peer %s, of us %s", or(c.Auth), or(c.PeerAuth))
	if c.MPPE {
		v.row("encryption", "MPPE, 128 bits")
	}
}

// counting is a number of things.
func counting(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// speeds are those of a line. Where only one is told it holds both ways (RFC 2661, 4.4.5).
func speeds(c *api.Session) string {
	switch {
	case c.TxSpeed == 0 && c.RxSpeed == 0:
		return "speed unknown"
	case c.RxSpeed == 0:
		return fmt.Sprintf("%d bit/s both ways", c.TxSpeed)
	}
	return fmt.Sprintf("%d bit/s out, %d bit/s in", c.TxSpeed, c.RxSpeed)
}

// showCounters shows S113-S128 and what proves that data stays in the kernel.
func showCounters(c *api.Counters) string {
	v := &view{label: 24}
	v.head("Counters")
	v.row("tunnel authentication", "%d failed", c.TunnelAuthFailures)
	v.row("user authentication", "%d failed", c.UserAuthFailures)
	if c.Unrouted > 0 {
		v.row("subscribers", "%d that no LNS took or no rule let pass", c.Unrouted)
	}
	if len(c.SessionEnds) > 0 {
		v.row("sessions ended", "%s", counted(c.SessionEnds))
	}
	v.row("messages", "%d in, %d out", c.InMessages, c.OutMessages)
	v.row("errors", "%d in", c.InErrors)
	d := c.Discarded
	v.row("discarded", "%d filtered, %d malformed, %d over limit", d.Filtered, d.Malformed, d.OverLimit)
	v.row("", "%d no such tunnel, %d no such session, %d foreign source, %d without data", d.NoSuchTunnel, d.NoSuchSession, d.ForeignSource, d.NoData)
	controlRows(v, &c.Control)
	v.row("listening sockets", "%s", socket(c.Listener))
	v.row("tunnel sockets", "%s", socket(c.TunnelSockets))
	v.row("PPP frames, this daemon", "%d in, %d out", c.PPPFrames.In, c.PPPFrames.Out)
	dataRows(v, "data, in the kernel", &c.Data)
	return v.String()
}

// counted writes numbers by their names, without those that are 0.
func counted(of map[string]uint64) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if of[name] > 0 {
			all = append(all, fmt.Sprintf("%s %d", name, of[name]))
		}
	}
	return list(all, "none")
}

// showDiscovery shows what an access concentrator has counted.
func showDiscovery(name string, c *api.Discovery) string {
	v := &view{label: 24}
	v.head("PPPoE on " + name)
	packets := func(c api.DiscoveryTraffic) string {
		return counted(map[string]uint64{"PADI": c.PADI, "PADO": c.PADO, "PADR": c.PADR, "PADS": c.PADS, "PADT": c.PADT})
	}
	v.row("discovery in", "%s", packets(c.In))
	v.row("discovery out", "%s", packets(c.Out))
	v.row("sessions asked for", "%d within the limits, %d beyond, %d of no service of ours", c.Offered, c.RefusedLimit, c.RefusedService)
	v.row("", "%d refused for other reasons, %d asked for again", c.RefusedOther, c.Repeated)
	v.row("dropped", "%s", counted(c.Dropped))
	v.row("lost", "%d not sent, %d without room in the socket, %d unreadable line tags", c.Unsent, c.Overflowed, c.BadLines)
	return v.String()
}

func controlRows(v *view, c *api.ControlTraffic) {
	v.row("control in", "%d: %d with data, %d without", c.In, c.InWithData, c.InNoData)
	v.row("", "%d processed, %d in order, %d out of order, %d discarded", c.Processed, c.InOrder, c.OutOfOrder, c.Discarded)
	v.row("control out", "%d: %d with data, %d without, %d sent again", c.Out, c.OutWithData, c.OutNoData, c.Retransmits)
}

func dataRows(v *view, label string, c *api.DataTraffic) {
	v.row(label, "in  %d packets, %d octets, %d errors", c.InPackets, c.InOctets, c.InErrors)
	v.row("", "out %d packets, %d octets, %d errors", c.OutPackets, c.OutOctets, c.OutErrors)
	v.row("", "%d dropped for their number, %d out of sequence, %d invalid", c.SeqDiscards, c.OutOfSequence, c.Invalid)
}

func socket(c api.SocketTraffic) string {
	return fmt.Sprintf("%d datagrams (%d octets) in, %d (%d) out", c.InDatagrams, c.InOctets, c.OutDatagrams, c.OutOctets)
}

// since says how long an object has been in its state: established for ..., or its age.
func since(state string, now, started, established time.Time) string {
	if established.IsZero() {
		return fmt.Sprintf("%s, %s old", state, or(age(now, started)))
	}
	return fmt.Sprintf("%s for %s", state, age(now, established))
}

// showTunnel shows one tunnel and its sessions (S132-S142, S148).
func showTunnel(s *api.Snapshot, wide bool) string {
	if len(s.Tunnels) == 0 {
		return "no tunnels\n"
	}
	c := &s.Tunnels[0]
	v := newView(16, fmt.Sprintf("tunnel %d (peer's %s), %s", c.ID, or(id(c.PeerID)), since(c.State, s.TakenAt, c.StartedAt, c.EstablishedAt)))
	v.row("path", "%s -> %s, opened by %s", or(port(c.Local)), or(port(c.Remote)), yes(c.Initiator, "us", "the peer"))
	firmware := ""
	if c.Firmware != 0 {
		firmware = fmt.Sprintf("%d.%d", c.Firmware>>8, c.Firmware&0xff)
	}
	v.row("peer", "%s, vendor %s, firmware %s", or(c.HostName), or(c.Vendor), or(firmware))
	v.row("capabilities", "framing %s; bearer %s", list(c.Framing, "none"), list(c.Bearer, "none"))
	v.row("authentication", "%s", yes(c.Secret, "by secret", "none"))
	v.row("started", "%s", c.StartedAt.UTC().Format(time.RFC3339))
	v.row("windows", "ours %d, peer's %d", c.Window, c.PeerWindow)
	v.row("numbers", "Ns %d, Nr %d, acknowledged %d", c.Ns, c.Nr, c.PeerNr)
	v.row("sending", "%d outstanding, %d queued, congestion window %d, threshold %d", c.Outstanding, c.Queued, c.Congestion, c.SlowStart)
	rtt := "not measured"
	if c.RTT > 0 {
		rtt = fmt.Sprintf("%d ms", c.RTT)
	}
	v.row("round trip", "%s; next retransmission after %d ms, at most %d ms", rtt, c.RTO, c.RTOCap)
	controlRows(v, &c.Counters)
	v.row("debug", "%s", cmp.Or(c.Debug, api.DebugKinds(false, false)))
	if c.LastError != "" {
		v.row("last error", "%s", c.LastError)
	}
	if len(s.Sessions) == 0 {
		v.row("sessions", "none")
		return v.String()
	}
	return v.String() + "\n" + listSessions(s, wide)
}

// showSession shows one session (S143-S149).
func showSession(s *api.Snapshot) string {
	if len(s.Sessions) == 0 {
		return "no sessions\n"
	}
	c := &s.Sessions[0]
	theirs := ""
	if c.TunnelID != 0 { // a line has no other name
		theirs = fmt.Sprintf(" (peer's %s)", or(ids(c.PeerTunnelID, c.PeerID)))
	}
	v := newView(14, fmt.Sprintf("session %s%s, %s", sessionName(c), theirs, since(c.State, s.TakenAt, c.StartedAt, c.EstablishedAt)))
	if c.Access != "" {
		v.row("access", "%s", c.Access)
	} else {
		v.row("remote", "%s, role %s", or(port(c.Remote)), c.Role)
	}
	if f := c.Forwarded; f != nil {
		lns := f.Address.String()
		if f.LNS != f.Address.Addr().String() {
			lns = f.LNS + ", " + lns
		}
		v.row("goes on", "at LNS %s, by session %s", lns, ids(f.TunnelID, f.SessionID))
	}
	if c.CarriesFor != "" {
		v.row("carries", "the frames of %s, user %s: PPP is his and the LNS's affair", c.CarriesFor, or(c.Subscriber))
	} else {
		pppRows(v, c)
	}
	v.row("numbers", "called %s, calling %s, sub-address %s", or(c.CalledNumber), or(c.CallingNumber), or(c.SubAddress))
	if c.TunnelID != 0 {
		v.row("", "serial %s, peer's %s", or(number(uint64(c.SerialNumber))), or(number(uint64(c.PeerSerial))))
	}
	v.row("line", "%s, framing %s, bearer %s", speeds(c), list(c.Framing, "none"), list(c.Bearer, "none"))
	if c.PhysicalChannel != 0 || c.PrivateGroup != "" {
		v.row("", "physical channel %d, private group %s", c.PhysicalChannel, or(c.PrivateGroup))
	}
	if e := c.LineErrors; e != nil {
		v.row("line errors", "%d CRC, %d framing, %d alignment, %d time-outs, %d hardware and %d buffer overruns",
			e.CRC, e.Framing, e.Alignment, e.TimeOut, e.Hardware, e.Buffer)
	}
	if c.ProxyAuth != "" {
		v.row("LAC", "says that the user logged in by %s", c.ProxyAuth)
	}
	if c.ProcessingDelay != 0 {
		v.row("delay", "%d ms of processing, says the peer", 100*int(c.ProcessingDelay))
	}
	if c.TunnelID != 0 {
		v.row("sequencing", "%s, %s", yes(c.SequencesSent, "we number data", "we do not number data"),
			yes(c.SequencesRequired, "unnumbered data is dropped", "unnumbered data is taken"))
	}
	v.row("started", "%s", c.StartedAt.UTC().Format(time.RFC3339))
	v.row("debug", "%s", cmp.Or(c.Debug, api.DebugKinds(false, false)))
	v.row("idle", "%s", span(time.Duration(c.IdleSeconds)*time.Second))
	if c.Data != nil {
		dataRows(v, "data", c.Data)
	}
	return v.String()
}

// showCall shows one configured call (S129).
func showCall(s *api.Snapshot) string {
	if len(s.Calls) == 0 {
		return "no calls are configured\n"
	}
	c := &s.Calls[0]
	head := fmt.Sprintf("call %s, %s", c.Name, c.State)
	if !c.UpSince.IsZero() {
		head += " for " + age(s.TakenAt, c.UpSince)
	}
	if !c.NextRedial.IsZero() {
		head += ", redial in " + span(c.NextRedial.Sub(s.TakenAt))
	}
	v := newView(13, head)
	peer := c.Peer
	if c.PeerAddr.IsValid() && !strings.Contains(c.PeerAddr.String(), c.Peer) {
		peer += " = " + c.PeerAddr.String()
	}
	v.row("type", "%s, to %s", c.Type, or(peer))
	v.row("remote name", "%s", or(c.Remote))
	v.row("session", "%s, interface %s", or(ids(c.TunnelID, c.SessionID)), or(c.Interface))
	v.row("starts", "%s", starts(c))
	v.row("on the wire", "%s, precedence %s, sequencing %s, pre-13 drafts %s", c.Method, c.Precedence, c.Sequencing, yes(c.PRE13, "on", "off"))
	v.row("secret", "%s", yes(c.Secret, "set", "not set"))
	if c.Type != "virtual" { // for lines only
		v.row("dials", "%s, sub-address %s, at most %d bit/s", or(c.Dial), or(c.SubAddress), c.Speed)
	}
	a := c.Attempts
	v.row("attempts", "%d out, %d in: %d came up, %d failed", a.Out, a.In, a.Succeeded, a.Failed)
	if c.LastError != nil {
		v.row("last error", "%s ago: %s", age(s.TakenAt, c.LastError.At), explain(c))
	}
	return v.String()
}

// starts says what makes a call start.
func starts(c *api.Call) string {
	var by []string
	if c.AutoStart {
		by = append(by, "by itself")
	}
	if c.OnDemand {
		by = append(by, "on the first packet")
	}
	if c.State == api.CallPassive {
		by = append(by, "only from the other side")
	}
	return list(by, "when asked")
}
