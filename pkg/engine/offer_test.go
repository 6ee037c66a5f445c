package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// asks is what an OCRQ says of its call.
type asks struct {
	Called, SubAddress      string
	Minimum, Maximum        uint32
	Bearer, Framing, Serial uint32
	Session                 bool // it names our session
}

func asked(m wire.Message) (a asks) {
	a.Called, _ = m.Text(wire.AVPCalledNumber)
	a.SubAddress, _ = m.Text(wire.AVPSubAddress)
	a.Minimum, _ = m.Uint32(wire.AVPMinimumBPS)
	a.Maximum, _ = m.Uint32(wire.AVPMaximumBPS)
	a.Bearer, _ = m.Uint32(wire.AVPBearerType)
	a.Framing, _ = m.Uint32(wire.AVPFramingType)
	a.Serial, _ = m.Uint32(wire.AVPCallSerialNumber)
	id, _ := m.Uint16(wire.AVPAssignedSessionID)
	a.Session = id != 0
	return a
}

// S60, S62, S65, S70, S71, S75: what leaves the box says of an outgoing call what its configuration says. A peer without lines answers
// CDN 5 (P202), and never by a virtual call.
func TestOutgoingCallAsksForWhatIsConfigured(t *testing.T) {
	// long: a table
	const digital, analog = wire.BearerDigital, wire.BearerAnalog
	for name, x := range map[string]struct {
		call  policy.Call
		want  asks
		comes bool // up, answered by a virtual call
	}{
		"virtual": {
			call: policy.Call{Method: policy.MethodOCRQ, Remote: "remote"}, comes: true,
			// The bearer is one that the peer advertised: a virtual call has none (P50).
			want: asks{Called: "remote", Minimum: 300, Maximum: 64000, Bearer: digital, Framing: wire.FramingSync},
		},
		"isdn, number": {
			call: policy.Call{Type: policy.CallISDN, Dial: "0312345678", Speed: 128000, MinimumSpeed: 64000},
			want: asks{Called: "0312345678", Minimum: 64000, Maximum: 128000, Bearer: digital, Framing: wire.FramingSync},
		},
		"isdn, number and sub-address": {
			call: policy.Call{Type: policy.CallISDN, Dial: "0312345678", SubAddress: "10"},
			want: asks{Called: "0312345678", SubAddress: "10", Minimum: 300, Maximum: 64000, Bearer: digital, Framing: wire.FramingSync},
		},
		"isdn, line": {
			call: policy.Call{Type: policy.CallISDN, Remote: "toiisdn"},
			want: asks{Called: "toiisdn", Minimum: 300, Maximum: 64000, Bearer: digital, Framing: wire.FramingSync},
		},
		"isdn, line and sub-address": {
			call: policy.Call{Type: policy.CallISDN, Remote: "toiisdn", SubAddress: "10"},
			want: asks{Called: "toiisdn", SubAddress: "10", Minimum: 300, Maximum: 64000, Bearer: digital, Framing: wire.FramingSync},
		},
		"async, number on a line": {
			call: policy.Call{Type: policy.CallAsync, Dial: "0312345678", Remote: "modem2", Speed: 9600, MinimumSpeed: 1200},
			want: asks{Called: "0312345678", SubAddress: "modem2", Minimum: 1200, Maximum: 9600, Bearer: analog, Framing: wire.FramingAsync},
		},
		"async, slower than slow": {
			call: policy.Call{Type: policy.CallAsync, Dial: "1", Speed: 300, MinimumSpeed: 300},
			want: asks{Called: "1", Minimum: 300, Maximum: 300, Bearer: analog, Framing: wire.FramingAsync},
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := pair("a", "2.2.2.2", policy.PrecedenceIn, true)
				c := p.Calls["remote"]
				c.Type, c.Method, c.Remote, c.Dial, c.SubAddress = x.call.Type, x.call.Method, x.call.Remote, x.call.Dial, x.call.SubAddress
				c.Speed, c.MinimumSpeed = x.call.Speed, x.call.MinimumSpeed
				a := n.start(t, "1.1.1.1", p, true)
				pb := pair("b", "1.1.1.1", policy.PrecedenceOut, false)
				pb.Accept = []policy.Accept{{Template: "lan", ProxyLCP: ppp.ProxyLCPMismatch}} // takes whatever is no call for a line
				b := n.start(t, "2.2.2.2", pb, true)
				defer a.stop()
				defer b.stop()
				time.Sleep(10 * time.Second)
				requests := n.messages(a.addr, wire.MsgOCRQ)
				if len(requests) == 0 {
					t.Fatalf("no OCRQ\n%s", a.log)
				}
				got := asked(requests[0])
				if got.Serial == 0 || !got.Session {
					t.Errorf("no serial number or session id: %+v", got)
				}
				got.Serial, got.Session = 0, false
				if diff := cmp.Diff(x.want, got); diff != "" {
					t.Errorf("OCRQ (-want +got):\n%s", diff)
				}
				if up := a.theCall().State == api.CallUp; up != x.comes {
					t.Errorf("up is %v, want %v", up, x.comes)
				}
				for _, m := range n.messages(b.addr, wire.MsgOCCN) {
					if speed, _ := m.Uint32(wire.AVPTxConnectSpeed); speed != x.want.Maximum {
						t.Errorf("OCCN says %d bit/s, want %d: no more than was asked for (P203)", speed, x.want.Maximum)
					}
				}
				refusals := n.messages(b.addr, wire.MsgCDN)
				if (len(refusals) == 0) != x.comes {
					t.Errorf("%d refusals", len(refusals))
				}
				for _, m := range refusals {
					if r, _ := m.Result(); r.Code != wire.CDNNoFacilitiesPerm {
						t.Errorf("CDN %s, want 5", r.CDNString())
					}
				}
			})
		})
	}
}

// S62, S66, S186: what an ICRQ says of a virtual call, which has no line: no bearer (P51), the name of the call at the peer.
func TestIncomingCallSaysWhatIsConfigured(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		defer a.stop()
		defer b.stop()
		a.up("remote", time.Minute)
		for _, m := range n.messages(a.addr, wire.MsgICRQ) {
			if got := asked(m); got.Called != "remote" || got.SubAddress != "" || got.Serial == 0 || !got.Session || m.Has(wire.AVPMaximumBPS) {
				t.Errorf("ICRQ says %+v", got)
			}
			if bits, ok := m.Uint32(wire.AVPBearerType); ok && bits != 0 {
				t.Errorf("ICRQ of a call without a line says bearer %d", bits)
			}
		}
		for _, m := range n.messages(a.addr, wire.MsgICCN) {
			if speed, _ := m.Uint32(wire.AVPTxConnectSpeed); speed != policy.VirtualSpeed {
				t.Errorf("ICCN says %d bit/s", speed)
			}
		}
	})
}
