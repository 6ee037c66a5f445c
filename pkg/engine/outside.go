package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/pppd"
)

// Pppd starts a pppd on a session. It may sleep. The events come from a goroutine of its own, the end last.
type Pppd interface {
	Start(spec pppd.Spec, events func(pppd.Event)) (PppdProcess, error)
}

// PppdProcess is a pppd that runs. Stop asks it to hang up, and waits for its end.
type PppdProcess interface {
	Stop(ctx context.Context) error
}

// Handover gives a session's socket to a program that runs PPP on it.
type Handover interface {
	HandOver() (*os.File, error)
}

// outside says that a pppd runs the session's PPP.
func (s *session) outside() bool {
	return s.line == nil && s.conf == nil && s.tmpl != nil && s.tmpl.Engine == policy.EnginePppd
}

// runPppd hands the session over.
func (s *session) runPppd(op call.OpRun) {
	spec := s.pppdSpec(op.Peer)
	sh := s.sh
	events := func(ev pppd.Event) { sh.post(func() { s.pppdSays(ev) }) }
	s.async(op, func() call.Result {
		service := sh.e.cfg.Pppd
		if service == nil {
			return call.Result{Err: fmt.Errorf("pppd: %w", os.ErrNotExist)}
		}
		var err error
		if spec.Socket, err = s.data.HandOver(); err != nil {
			return call.Result{Err: err}
		}
		s.process, err = service.Start(spec, events)
		return call.Result{Err: err}
	})
}

// pppdSpec is the policy of the link in pppd's terms.
func (s *session) pppdSpec(peer netip.Addr) pppd.Spec {
	p := s.params()
	c := s.pppConfig(s.tmpl, p.MTU) // without our defaults: pppd has its own
	spec := pppd.Spec{
		Name: fmt.Sprintf("%d/%d", s.t.id, s.id), Interface: p.Interface, MTU: p.MTU, MRU: int(c.MRU), HostName: c.Name,
		IPv4: c.IPv4, Local: c.Local, Peer: peer, DNS: c.DNS, NBNS: c.NBNS, IPv6: c.IPv6,
		RequireMPPE:  c.MPPE == ppp.MPPERequire,
		EchoInterval: c.EchoInterval, EchoFailures: c.EchoFailures, IdleTimeout: c.IdleTimeout, SessionTimeout: c.SessionTimeout,
		Rechallenge: c.Rechallenge, Restart: c.Restart, MaxConfigure: c.MaxConfigure, MaxTerminate: c.MaxTerminate, MaxFailure: c.MaxFailure,
		Options: s.tmpl.PppdOptions,
	}
	for _, m := range c.Auth {
		if a, ok := pppdAuth(m); ok {
			spec.Auth = append(spec.Auth, a)
		}
	}
	if len(spec.Auth) > 0 {
		for _, u := range s.pol.Users {
			spec.Users = append(spec.Users, pppd.User{Name: u.Name, Password: u.Password, IPv4: u.IPv4})
		}
	}
	return spec
}

// pppdAuth is a login method in pppd's terms. The configuration refuses what it has not.
func pppdAuth(m ppp.AuthMethod) (pppd.Auth, bool) {
	switch m {
	case ppp.AuthPAP:
		return pppd.AuthPAP, true
	case ppp.AuthCHAPMD5:
		return pppd.AuthCHAP, true
	case ppp.AuthMSCHAPv2:
		return pppd.AuthMSCHAPv2, true
	case ppp.AuthNone, ppp.AuthMSCHAPv1:
	}
	return 0, false
}

// pppdSays follows what a pppd tells.
func (s *session) pppdSays(ev pppd.Event) {
	if s.call == nil {
		return
	}
	now := s.sh.now()
	switch ev := ev.(type) {
	case pppd.EvLine:
		s.log().Debug("pppd", slog.String("line", ev.Text))
		return
	case pppd.EvNetworkUp:
		r := call.Ran{Interface: ev.Interface, User: ev.User, EvNetworkUp: ev.EvNetworkUp}
		u := s.pol.Users[ev.User]
		if u != nil {
			r.Routes = u.Routes
		}
		s.letIn(u, func(now call.Time) { s.call.Up(now, r, s.output()) })
	case pppd.EvNetworkDown:
		s.letIn(nil, func(now call.Time) { s.call.Down(now, ev.EvNetworkDown, s.output()) })
	case pppd.EvEnding:
		s.call.Ending(ev.EvLinkDown)
	case pppd.EvDown:
		if ev.Reason == ppp.ReasonAuthFailed && !ev.Peer {
			s.sh.e.counts.userAuthFailures.Add(1)
		}
		s.call.Exited(now, ev.EvLinkDown, ev.Err, s.output())
	}
	s.flush()
}

// letIn counts the user whom a pppd has let in, and does what comes then. One that may not have the session loses it again: pppd cannot
// ask before. Until that is known, nothing that pppd tells of his network counts: his routes may be those of another session.
func (s *session) letIn(u *policy.User, then func(now call.Time)) {
	switch {
	case s.judging:
		s.judged = append(s.judged, then)
		return
	case u == nil || s.login != "" || s.releasing:
		then(s.sh.now())
		return
	}
	s.judging, s.judged = true, append(s.judged, then)
	s.login, s.owned = u.Name, u.IPv4
	s.enterLogin(u, func(refusal string) {
		waiting := s.judged
		s.judging, s.judged = false, nil
		switch {
		case s.call == nil, s.releasing:
		case refusal != "":
			s.call.Refuse(s.sh.now(), refusal, s.output())
		default:
			for _, f := range waiting {
				f(s.sh.now())
			}
		}
		s.flush()
	})
}

// stopPppd ends the session's pppd, if there is one. It sleeps.
func (s *session) stopPppd() error {
	if s.process == nil {
		return nil
	}
	return s.process.Stop(s.sh.e.life)
}
