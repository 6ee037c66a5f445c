//go:build kernel

package scenario

import (
	"fmt"
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// lineLAC is a LAC with one modem line, by whose subscribers, or by the LNS's calls, it earns its living.
func lineLAC(x *lab.Exchange, line string) string {
	return fmt.Sprintf(`
server: {mode: lac, hostname: lac}
secret: %s
lac:
  access:
    - tty: {device: %s, template: access, %s}
  rules:
    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: %[1]s}
ppp: {templates: {access: {auth: [chap, pap]}}}
log: {level: debug}
`, tunnelSecret, x.Near, line)
}

// S159: somebody calls a modem, which rings and is answered; he goes on at the LNS, with octets stuffed on his line alone.
func TestCallerOnAModemIsForwarded(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t)
	home := w.Host("home")
	x := w.Exchange()
	lns := w.lns.L2TPD(ourLNS)
	lac := w.lac.L2TPD(lineLAC(x, `init: ["", ATZ, OK], answer: [RING, ATA, CONNECT]`))
	x.Hear("ATZ")
	x.Say("OK")
	lac.WaitLog("line is served")
	x.Say("RING")
	x.Hear("ATA")
	x.Say("CONNECT 33600")
	x.Connect()
	caller := home.OnLine(x, "alice@corp.example", theirPass)
	if _, local, _ := caller.WaitUp(); local != "10.8.2.1" {
		t.Errorf("the caller has %s", local)
	}
	home.Reaches("10.8.0.1")
	s := lns.WaitSessions(1)[0]
	if s.TxSpeed != 33600 || len(s.Framing) != 1 || s.Framing[0] != "async" {
		t.Errorf("the LNS hears of speed %d, framing %v", s.TxSpeed, s.Framing)
	}
	caller.Signal(15)
	lac.WaitLog("call down.*user=alice@corp.example")
	lns.WaitSessions(0)
	discreet(t, lac, lns)
}

// S12, S60, S65, S70: the LNS has a user called through the LAC's modem (OCRQ); who is busy is said by the code for that.
func TestLNSHasAUserCalled(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t)
	home := w.Host("home")
	x := w.Exchange()
	lac := w.lac.L2TPD(lineLAC(x, `dial_in: off, dial_out: on, dial_out_from: [10.4.0.2], dial: ["", 'ATDT\T', CONNECT]`))
	lac.WaitLog("line is served")
	lns := w.lns.L2TPD(`
server: {mode: both, hostname: lns}
calls:
  rover: {type: async, peer: 10.4.0.1, dial: "5551234", speed: 57600, secret: ` + tunnelSecret + `, redial: {min: 1s, max: 2s},
    ppp: {template: dialin, ipv4: 10.8.0.1, routes: [10.8.3.0/24]}}
ppp: {templates: {dialin: {auth: [chap], ipv4_pool: ips}}}
pools: {ips: {ranges: [10.8.3.10-10.8.3.20]}}
users: {rover: {password: ` + theirPass + `}}
log: {level: debug}
`)
	lns.Ctl("call", "up", "rover")
	if number := x.Hear("ATDT"); number != "5551234" {
		t.Errorf("the modem is to dial %q", number)
	}
	x.Say("BUSY")
	lns.WaitLog("WARN .*call not established.*busy")
	x.Hear("ATDT")
	x.Say("CONNECT 28800")
	x.Connect()
	called := home.OnLine(x, "rover", theirPass)
	called.WaitUp()
	lns.WaitUp("rover")
	home.Reaches("10.8.0.1")
	if s := lns.Session("rover"); s.TxSpeed != 28800 || s.Role != "lns-outgoing" {
		t.Errorf("the LNS hears of speed %d as %s", s.TxSpeed, s.Role)
	}
	lac.WaitLog("call placed.*called=5551234")
	lns.Ctl("call", "down", "rover")
	lac.WaitLog("far side|call down")
	lac.WaitSessions(0)
	discreet(t, lac, lns)
}
