//go:build kernel

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// entry is one entry of the journal; a field that is no text stays out.
type entry map[string]any

func entries(t *testing.T, lines string) (found []entry) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("journal: %v: %s", err, line)
		}
		found = append(found, e)
	}
	return found
}

// unitConf opens every hole of the unit: a secret from systemd, one from a file, a login at either end, masquerading, a call on
// demand.
const unitConf = `
server: {hostname: a}
calls:
  remote: {peer: 10.0.0.2, remote: remote, secret: {credential: branch}, autostart: on, redial: {min: 500ms, max: 1s},
    ppp: {template: lan, ipv4: request, user: box-a, password: {file: /etc/l2tpd/login.secret}, masquerade: on, routes: [192.168.20.0/24]}}
  spare: {peer: 10.0.0.2, remote: spare, secret: {credential: branch}, on_demand: on,
    ppp: {template: lan, ipv4: request, user: box-a, password: {file: /etc/l2tpd/login.secret}, masquerade: on, routes: [192.168.30.0/24]}}
secrets: [{from: any, secret: {credential: branch}}]
lns: {accept: [{from: 10.0.0.2, template: in}]}
ppp: {templates: {lan: {auth: none}, in: {auth: [chap], users: [local], ipv4_local: 192.168.10.1, ipv4_pool: few}}}
pools: {few: {ranges: [192.168.50.2-192.168.50.9]}}
users: {box-b: {password: {file: /etc/l2tpd/login.secret}}}
log: {level: debug}
`

const unitPeer = `
server: {hostname: b}
secrets: [{from: any, secret: to-b-0123456789abcdef}]
calls:
  inward: {peer: 10.0.0.1, remote: anybody, secret: to-b-0123456789abcdef, autostart: on, redial: {min: 500ms, max: 1s},
    ppp: {template: lan, ipv4: request, user: box-b, password: login-secret}}
lns: {accept: [{from: any, template: in}]}
ppp: {templates: {lan: {auth: none}, in: {auth: [chap], users: [local], ipv4_local: 192.168.20.1, ipv4_pool: few}}}
pools: {few: {ranges: [192.168.40.2-192.168.40.9]}}
users: {box-a: {password: login-secret}}
log: {level: debug}
`

// delivered is a box that runs the unit as it is delivered, but for a shorter watchdog, and its peer.
type delivered struct {
	*pair
	sd   *lab.Systemd
	peer *lab.Daemon
}

func newDelivered(t *testing.T) *delivered {
	t.Helper()
	p := newPair(t)
	p.b.IP("addr add 192.168.30.1/24 dev lo")
	sd := p.a.Systemd()
	sd.Install()
	sd.Write("/etc/credstore/branch", "to-b-0123456789abcdef")
	sd.Write("/etc/systemd/system/l2tpd.service.d/test.conf", "[Service]\nLoadCredential=branch:/etc/credstore/branch\nWatchdogSec=20s\n")
	sd.Write("/etc/l2tpd/l2tpd.yaml", unitConf)
	sd.Write("/etc/l2tpd/login.secret", "login-secret")
	sd.Run("systemctl", "daemon-reload")
	return &delivered{p, sd, p.b.L2TPD(unitPeer)}
}

// up waits for the call and for a packet through it, from the address that masquerading takes: the peer has no route to our LAN.
func (d *delivered) up() {
	d.sd.Run("l2tpctl", "call", "up", "remote", "--wait", "60s")
	d.a.Reaches("192.168.20.1")
}

// state checks what systemd says of the service.
func (d *delivered) state(t *testing.T, want ...string) {
	t.Helper()
	out := d.sd.Run("systemctl", "show", "l2tpd")
	for _, w := range want {
		if !strings.Contains(out, w+"\n") {
			t.Errorf("systemctl show: no %s\n%s", w, out)
		}
	}
}

// said checks the fields of the one entry of a call that came up.
func (d *delivered) said(t *testing.T, match string, want map[string]string) {
	t.Helper()
	var found []entry
	d.Eventually("an entry with "+match, func() error {
		if found = entries(t, d.sd.Journal("L2TP_EVENT=call-up", match)); len(found) == 0 {
			return errNotThere
		}
		return nil
	})
	if len(found) != 1 {
		t.Errorf("journal: %d entries with %s, want 1", len(found), match)
	}
	for field, want := range want {
		if found[0][field] != want {
			t.Errorf("journal: %s is %v, want %s", field, found[0][field], want)
		}
	}
	for _, field := range []string{"L2TP_TUNNEL_ID", "L2TP_SESSION_ID", "L2TP_PEER_TUNNEL_ID", "L2TP_PEER_SESSION_ID"} {
		if v, _ := found[0][field].(string); v == "" || v == "0" {
			t.Errorf("journal: %s is %v", field, found[0][field])
		}
	}
}

// The unit as it is delivered, under a real systemd: everything that the daemon does fits through its hardening, "start" and
// "reload" wait for the outcome, the journal has the fields, the watchdog brings a daemon back that hangs, "stop" says goodbye.
func TestUnderSystemd(t *testing.T) {
	d := newDelivered(t)
	sd := d.sd
	sd.Run("systemctl", "start", "l2tpd")
	d.state(t, "ActiveState=active", "SubState=running", "StatusText=running")
	d.up()
	d.a.Reaches("192.168.30.1") // dialled by the first packet
	d.peer.WaitUp("inward")
	d.said(t, "L2TP_CALL=remote", map[string]string{"L2TP_PEER": "10.0.0.2:1701", "SYSLOG_IDENTIFIER": "l2tpd", "PRIORITY": "6"})
	d.said(t, "L2TP_USER=box-b", map[string]string{"L2TP_PEER": "10.0.0.2:1701", "PRIORITY": "6"})

	// A reload with an error in it fails, says where, and changes nothing.
	sd.Write("/etc/l2tpd/l2tpd.yaml", strings.Replace(unitConf, "autostart: on", "autostart: perhaps", 1))
	if out, err := sd.Try("systemctl", "reload", "l2tpd"); err == nil {
		t.Errorf("reload of a wrong configuration succeeds: %s", out)
	}
	sd.Run("journalctl", "--sync")
	if log := sd.Run("journalctl", "-u", "l2tpd", "--no-pager", "-o", "cat"); !strings.Contains(log, "l2tpd.yaml:4:") {
		t.Errorf("the journal does not say where the error is:\n%s", log)
	}
	d.a.Reaches("192.168.20.1")
	sd.Write("/etc/l2tpd/l2tpd.yaml", unitConf)
	sd.Run("systemctl", "reload", "l2tpd")

	// One that hangs is killed, started again, and its call comes back.
	sd.Run("systemctl", "kill", "--signal=SIGSTOP", "l2tpd")
	d.Eventually("the watchdog", func() error {
		out := sd.Run("systemctl", "show", "l2tpd", "-p", "NRestarts", "-p", "SubState")
		if !strings.Contains(out, "NRestarts=1") || !strings.Contains(out, "SubState=running") {
			return errors.New(out)
		}
		return nil
	})
	d.up()

	mark := d.peer.Mark()
	sd.Run("systemctl", "stop", "l2tpd")
	d.peer.WaitLogSince(mark, "tunnel down.*peer.*shutting down")
	d.state(t, "Result=success", "SubState=dead")
	down := entries(t, sd.Journal("L2TP_EVENT=tunnel-down"))
	if len(down) == 0 || fmt.Sprint(down[len(down)-1]["L2TP_CAUSE"]) != "local" {
		t.Errorf("journal: tunnel-down is %v", down)
	}
	for _, found := range secretsIn(sd.Run("journalctl", "-u", "l2tpd", "--no-pager", "-o", "export"), "to-b-0123456789abcdef", "login-secret") {
		t.Errorf("the journal has %s", found)
	}
}
