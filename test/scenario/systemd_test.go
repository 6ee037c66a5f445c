//go:build kernel

package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
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

// The unit as it is delivered, under a real systemd: everything that the daemon does fits through its hardening, "start" and
// "reload" wait for the outcome, the journal has the fields, the watchdog brings a daemon back that hangs, "stop" says goodbye.
func TestUnderSystemd(t *testing.T) {
	p := newPair(t)
	sd := p.a.Systemd()
	sd.Install()
	// A secret from systemd, one from a file; a login, masquerading and a call on demand open every hole of the unit.
	sd.Write("/etc/credstore/branch", "to-b-0123456789abcdef")
	sd.Write("/etc/systemd/system/l2tpd.service.d/test.conf", "[Service]\nLoadCredential=branch:/etc/credstore/branch\nWatchdogSec=5s\n")
	const conf = `
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
`
	sd.Write("/etc/l2tpd/l2tpd.yaml", conf)
	sd.Write("/etc/l2tpd/login.secret", "login-secret")
	b := p.b.L2TPD(`
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
`)
	sd.Run("systemctl", "daemon-reload")
	sd.Run("systemctl", "start", "l2tpd")
	if out := sd.Run("systemctl", "show", "l2tpd", "-p", "ActiveState", "-p", "SubState", "-p", "StatusText"); !strings.Contains(out, "SubState=running") ||
		!strings.Contains(out, "StatusText=") {
		t.Errorf("systemctl show: %s", out)
	}
	up := func() { sd.Run("l2tpctl", "call", "up", "remote", "--wait", "60s") }
	up()
	p.a.Reaches("192.168.20.1") // from the address that masquerading takes: b has no route to our LAN
	p.b.IP("addr add 192.168.30.1/24 dev lo")
	p.a.Reaches("192.168.30.1") // dialled by the first packet
	b.WaitUp("inward")
	fields := func(match, value string, want map[string]string) {
		t.Helper()
		found := entries(t, sd.Journal("L2TP_EVENT=call-up", match+"="+value))
		if len(found) != 1 {
			t.Errorf("journal: %d entries with %s=%s, want 1", len(found), match, value)
		}
		for _, e := range found {
			for field, want := range want {
				if e[field] != want {
					t.Errorf("journal: %s is %v, want %s", field, e[field], want)
				}
			}
			for _, field := range []string{"L2TP_TUNNEL_ID", "L2TP_SESSION_ID", "L2TP_PEER_TUNNEL_ID", "L2TP_PEER_SESSION_ID"} {
				if v, _ := e[field].(string); v == "" || v == "0" {
					t.Errorf("journal: %s is %v", field, e[field])
				}
			}
		}
	}
	fields("L2TP_CALL", "remote", map[string]string{"L2TP_PEER": "10.0.0.2:1701", "SYSLOG_IDENTIFIER": "l2tpd", "PRIORITY": "6"})
	fields("L2TP_USER", "box-b", map[string]string{"L2TP_PEER": "10.0.0.2:1701", "PRIORITY": "6"})

	// A reload with an error in it fails, says where, and changes nothing.
	sd.Write("/etc/l2tpd/l2tpd.yaml", strings.Replace(conf, "autostart: on", "autostart: perhaps", 1))
	if out, err := sd.Try("systemctl", "reload", "l2tpd"); err == nil {
		t.Errorf("reload of a wrong configuration succeeds: %s", out)
	}
	if log := sd.Run("journalctl", "-u", "l2tpd", "--no-pager", "-o", "cat"); !strings.Contains(log, "l2tpd.yaml:4:") {
		t.Errorf("the journal does not say where the error is:\n%s", log)
	}
	p.a.Reaches("192.168.20.1")
	sd.Write("/etc/l2tpd/l2tpd.yaml", conf)
	sd.Run("systemctl", "reload", "l2tpd")

	// One that hangs is killed, started again, and its call comes back.
	sd.Run("systemctl", "kill", "--signal=SIGSTOP", "l2tpd")
	p.Eventually("the watchdog", func() error {
		out := sd.Run("systemctl", "show", "l2tpd", "-p", "NRestarts", "-p", "SubState")
		if !strings.Contains(out, "NRestarts=1") || !strings.Contains(out, "SubState=running") {
			return errors.New(out)
		}
		return nil
	})
	up()
	p.a.Reaches("192.168.20.1")

	mark := b.Mark()
	sd.Run("systemctl", "stop", "l2tpd")
	b.WaitLogSince(mark, "tunnel down.*peer.*shutting down")
	if out := sd.Run("systemctl", "show", "l2tpd", "-p", "Result", "-p", "SubState"); !strings.Contains(out, "Result=success") ||
		!strings.Contains(out, "SubState=dead") {
		t.Errorf("after stop: %s", out)
	}
	cause := entries(t, sd.Journal("L2TP_EVENT=tunnel-down"))
	if len(cause) == 0 || fmt.Sprint(cause[len(cause)-1]["L2TP_CAUSE"]) != "local" {
		t.Errorf("journal: tunnel-down is %v", cause)
	}
	if out := sd.Run("journalctl", "-u", "l2tpd", "--no-pager", "-o", "export"); strings.Contains(out, "to-b-0123456789abcdef") || strings.Contains(out, "login-secret") {
		t.Error("a secret is in the journal")
	}
}
