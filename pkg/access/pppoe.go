package access

import (
	"cmp"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// concentrator is an interface with a PPPoE access concentrator.
type concentrator struct {
	m       *Manager
	conf    policy.Access
	callers *callers
	*pppoe.Listener
}

func (m *Manager) openPPPoE(a policy.Access, callers *callers) (*concentrator, error) {
	c := &concentrator{m: m, conf: a, callers: callers}
	cfg := c.config(a)
	cfg.Handler, cfg.Logger = discovery{c}, m.cfg.Logger
	callers.mu.Lock() // whoever comes at once finds the listener
	defer callers.mu.Unlock()
	var err error
	if c.Listener, err = pppoe.Listen(cfg); err != nil {
		return nil, err
	}
	return c, nil
}

// unlimited is more sessions than an interface can have.
const unlimited = 0xfffe

// config is the configuration in the terms of the package that does discovery.
func (c *concentrator) config(a policy.Access) pppoe.Config {
	p := a.PPPoE
	all, one := cmp.Or(p.Rate, 1000), cmp.Or(p.RateOfMAC, 10)
	return pppoe.Config{
		Interface: p.Interface, ServiceNames: p.ServiceNames, ACName: cmp.Or(p.ACName, c.m.cfg.HostName), Delay: p.Delay,
		MaxSessions: cmp.Or(p.MaxSessions, unlimited), MaxSessionsPerMAC: cmp.Or(p.MaxSessionsOfMAC, unlimited),
		MaxPayload: int(cmp.Or(p.MaxPayload, 1492)),
		Rates: pppoe.Rates{
			PADI: pppoe.Rate{PerSecond: all, Burst: all}, PADR: pppoe.Rate{PerSecond: all, Burst: all},
			StationPADI: pppoe.Rate{PerSecond: one, Burst: one}, StationPADR: pppoe.Rate{PerSecond: one, Burst: one},
		},
	}
}

func (c *concentrator) configure(a policy.Access) (bool, error) {
	if a.PPPoE == nil {
		return false, nil
	}
	if err := c.Configure(c.config(a)); err != nil {
		return true, err
	}
	c.callers.mu.Lock()
	defer c.callers.mu.Unlock()
	c.conf = a
	return true, nil
}

func (c *concentrator) close() error { return c.Close() }

// discovery is told by the listener what happens.
type discovery struct{ c *concentrator }

func (d discovery) Offered(o pppoe.Offer) {
	c := d.c
	c.callers.mu.Lock()
	conf := c.conf
	c.callers.mu.Unlock()
	who := Caller{
		Access: conf,
		PPPoE: &PPPoE{
			Interface: o.Interface, SessionID: o.SessionID, MAC: o.Client, Service: o.Service, MaxPayload: o.MaxPayload,
		},
	}
	who.Line = accessLine(&o.Line)
	c.callers.arrived(int(o.SessionID), who, &offer{answerer: c, callers: c.callers, id: o.SessionID})
}

func (d discovery) Ended(id uint16, why string) { d.c.callers.left(int(id), why) }

func (d discovery) Down(reason string) { d.c.callers.all(reason) }

func (d discovery) Up() {}

// answerer is where a subscriber is answered.
type answerer interface {
	Accept(id uint16)
	Refuse(id uint16, kind pppoe.Refusal, text string)
	Terminate(id uint16, text string)
	Freed(id uint16)
}

// offer is a session that a subscriber has asked for.
type offer struct {
	answerer
	callers *callers
	id      uint16
	ready   bool // the owner's
}

func (o *offer) Ready() {
	o.ready = true
	o.Accept(o.id)
}

func (o *offer) HangUp(why string) {
	if o.ready {
		o.Terminate(o.id, why)
		o.Freed(o.id)
	} else {
		o.Refuse(o.id, pppoe.RefuseSystem, why)
	}
	o.callers.forget(int(o.id)) // the number rests: it is nobody else's yet
}

// accessLine is a line in the terms of L2TP (RFC 5515; P222); nil: nothing is known of it.
func accessLine(l *pppoe.Line) *control.AccessLine {
	if l.Empty() {
		return nil
	}
	x := &control.AccessLine{}
	for _, a := range l.Attributes() {
		t := wire.LineAttribute(a.Type)
		if t == wire.LineCircuitID {
			x.CircuitID = a.Value
			continue
		}
		if t == wire.LineRemoteID {
			x.RemoteID = a.Value
			continue
		}
		var n uint64
		for _, b := range a.Value {
			n = n<<8 | uint64(b)
		}
		if t == wire.LineIWFSession {
			n = 1 // an access node says it by an empty value
		}
		if t == wire.LineType && n <= 0xff {
			n <<= 24 // RFC 5515 has it in the first of four octets, access nodes in the last
		}
		x.SetValue(t, n)
	}
	return x
}
