package engine

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// withAVPs adds AVPs to every ICCN.
func withAVPs(avps ...wire.AVP) func([]byte) []byte {
	return func(d []byte) []byte {
		_, payload, err := wire.ParseHeader(d)
		if err != nil || len(payload) == 0 {
			return d
		}
		if m, err := wire.ParseMessage(payload); err != nil || m.Type != wire.MsgICCN {
			return d
		}
		d = slices.Clone(d)
		for _, a := range avps {
			d = binary.BigEndian.AppendUint16(d, uint16(6+len(a.Value)))
			d = append(d, 0, 0)
			d = binary.BigEndian.AppendUint16(d, uint16(a.Type))
			d = append(d, a.Value...)
		}
		binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
		return d
	}
}

// What a LAC says of a caller who has logged in to it by PAP with this password.
func lacSays(password string) []wire.AVP {
	return []wire.AVP{
		wire.Bytes(wire.AVPLastSentLCP, []byte{3, 4, 0xc0, 0x23, 5, 6, 1, 2, 3, 4}), wire.Bytes(wire.AVPLastRecvLCP, []byte{5, 6, 9, 8, 7, 6}),
		wire.Uint16(wire.AVPProxyAuthenType, 3), wire.Text(wire.AVPProxyAuthenName, "RouterA"), wire.Uint16(wire.AVPProxyAuthenID, 7),
		wire.Bytes(wire.AVPProxyAuthenResponse, []byte(password)),
	}
}

// The caller of these tests begins LCP anew in any case: what becomes of good data is told by the transcripts of pkg/ppp.
//
// P190-P197, P216: what a LAC has negotiated holds, is refused, or begins anew, as the accept entry says.
func TestProxyDataAndTheAcceptEntry(t *testing.T) {
	good, wrong := lacSays("PasswordA"), lacSays("not it")
	broken := append(slices.Clone(good[1:]), wire.Bytes(wire.AVPLastSentLCP, []byte{3, 99}))
	for name, x := range map[string]struct {
		lcp   ppp.ProxyLCP
		login ppp.ProxyAuth
		says  []wire.AVP
		ends  string // with this cause; empty: it comes up
	}{
		"accepted":                         {says: good},
		"accepted, broken":                 {says: broken, ends: "proxy-lcp"},
		"accepted, nothing said":           {ends: "proxy-lcp"},
		"mismatch, good":                   {lcp: ppp.ProxyLCPMismatch, says: good},
		"mismatch, broken":                 {lcp: ppp.ProxyLCPMismatch, says: broken},
		"mismatch, nothing said":           {lcp: ppp.ProxyLCPMismatch},
		"begin anew":                       {lcp: ppp.ProxyLCPRenegotiate, says: good},
		"begin anew for the login":         {login: ppp.ProxyAuthRenegotiate, says: wrong},
		"LCP stays, the login is repeated": {login: ppp.ProxyAuthRechallenge, says: wrong},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				n.alter = withAVPs(x.says...)
				b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
					p.Accept[0].ProxyLCP, p.Accept[0].ProxyAuth = x.lcp, x.login
				}), true)
				defer b.stop()
				a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.RedialMin = true, time.Hour }), true)
				defer a.stop()
				if x.ends != "" {
					a.until("refused", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
					if got := b.look().Status.Counters.SessionEnds; got[x.ends] != 1 {
						t.Errorf("ends %v, want %s\n%s", got, x.ends, b.log)
					}
					return
				}
				a.up("c0", time.Minute)
			})
		})
	}
}
